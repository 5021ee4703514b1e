"""Chance: from the seed, each process its own, and the interpreter's own untouched."""

from __future__ import annotations

import os
import random
import secrets
import uuid
from random import gauss as imported_gauss
from random import random as imported_random
from typing import Any

import pytest

from tasksim import Simulation
from tests.scene import make_app

DRAWS = {
    "random": lambda: random.random(),
    "imported random": lambda: imported_random(),
    "getrandbits": lambda: random.getrandbits(64),
    "randint": lambda: random.randint(0, 10**9),
    "shuffle": lambda: random.sample(range(1000), 20),
    "gauss": lambda: random.gauss(0, 1),
    "imported gauss": lambda: imported_gauss(0, 1),
    "choice": lambda: random.choices("abcdef", k=20),
    "randbytes": lambda: random.randbytes(16),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "an own generator": lambda: random.Random().random(),
    "urandom": lambda: os.urandom(16),
    "uuid4": uuid.uuid4,
    "uuid1": uuid.uuid1,
    "token": lambda: secrets.token_hex(16),
    "randbelow": lambda: secrets.randbelow(10**9),
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


def drawn(seed: int, draw: Any) -> list[Any]:
    """Two draws of the test's and two of a pool process'."""
    app = make_app()
    found: list[Any] = []

    @app.task(shared=False, name="draw")
    def task() -> None:
        found.extend([draw(), draw()])

    with Simulation(app, concurrency=1, seed=seed) as sim:
        found.extend([draw(), draw()])
        task.delay()
        sim.run()
    return found


@draws
def test_the_same_seed_gives_the_same_draws_another_one_others_and_no_two_are_alike(draw: Any) -> None:
    first = drawn(1, draw)
    assert len({str(one) for one in first}) == 4
    assert drawn(1, draw) == first
    assert drawn(2, draw) != first


def test_a_draw_more_in_one_process_does_not_move_another_ones() -> None:
    def second(more: int) -> float:
        for _ in range(more):
            random.random()
        return random.random()

    app = make_app()

    @app.task(shared=False, name="draw")
    def draw() -> float:
        return random.random()

    found = []
    for more in (0, 7):
        with Simulation(app, concurrency=1, seed=3):
            second(more)
            found.append(draw.delay().get())
    assert found[0] == found[1]


def test_the_interpreters_own_generator_is_as_it_was() -> None:
    random.seed(42)
    expected = random.Random(42)
    app = make_app()

    @app.task(shared=False, name="draw")
    def draw() -> None:
        random.seed(7)
        random.gauss(0, 1)
        random.random()

    before = random.getstate()
    with Simulation(app, concurrency=1) as sim:
        random.seed(5)
        random.gauss(0, 1)
        draw.delay()
        sim.run()
    assert random.getstate() == before
    assert [random.random() for _ in range(3)] == [expected.random() for _ in range(3)]


def test_a_seed_that_a_task_sets_is_its_own_process_affair() -> None:
    app = make_app()

    @app.task(shared=False, name="seeded")
    def seeded() -> list[float]:
        random.seed(42)
        state = random.getstate()
        first = random.random()
        random.setstate(state)
        return [first, random.random()]

    with Simulation(app, concurrency=1):
        mine = random.random()
        once, twice = seeded.delay().get()
        assert once == twice == random.Random(42).random()
        assert random.random() != mine
