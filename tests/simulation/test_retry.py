"""Retries: Celery's own delays, to the second."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tasksim import Simulation
from tests.scene import AMQP, BROKERS, failing, make_app


def starts(broker: str, seed: int, workers: int = 2, **options: Any) -> list[float]:
    app = make_app(broker)
    task = failing(app, 3, **options)
    with Simulation(app, workers=workers, seed=seed) as sim:
        result = task.delay()
        assert result.get() == "done"
        return [round(start, 3) for start in sim.trace.of(result).starts]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("broker", BROKERS)
def test_backoff_doubles_and_starts_are_exact(broker: str, seed: int) -> None:
    assert starts(broker, seed, retry_backoff=True, retry_jitter=False) == [0, 1, 3, 7]


@pytest.mark.parametrize("broker", BROKERS)
def test_the_test_need_not_wait_for_the_result(broker: str) -> None:
    app = make_app(broker)
    task = failing(app, 3, retry_backoff=True, retry_jitter=False)
    with Simulation(app, workers=2) as sim:
        result = task.delay()
        sim.run()
        assert sim.trace.of(result).states[-1] == "SUCCESS"
        assert sim.now == pytest.approx(7, abs=0.01)
        assert result.state == "SUCCESS"


@pytest.mark.parametrize("seed", range(4))
def test_with_jitter_each_delay_is_within_its_envelope_and_the_seed_repeats_it(seed: int) -> None:
    first = starts(AMQP, seed, retry_backoff=3)
    for number, (one, two) in enumerate(pairwise(first)):
        # full jitter: a whole number below the backoff, and kombu's timer takes it to the millisecond
        assert 0 <= two - one <= 3 * 2**number
    assert starts(AMQP, seed, retry_backoff=3) == first


def test_jitter_differs_from_seed_to_seed() -> None:
    assert len({tuple(starts(AMQP, seed, workers=1, retry_backoff=60)) for seed in range(6)}) > 3


@pytest.mark.parametrize("broker", BROKERS)
def test_without_a_word_a_retry_comes_after_180_seconds(broker: str) -> None:
    assert starts(broker, 0) == [0, 180, 360, 540]


def test_a_retry_that_outlives_its_last_chance_fails_with_the_exception() -> None:
    app = make_app()
    task = failing(app, 9, max_retries=2, default_retry_delay=5)
    with Simulation(app) as sim:
        result = task.delay()
        sim.run()
        trace = sim.trace.of(result)
        assert [round(start) for start in trace.starts] == [0, 5, 10]
        assert trace.state == "FAILURE"
        assert [attempt.state for attempt in trace.attempts] == ["RETRY", "RETRY", "FAILURE"]
