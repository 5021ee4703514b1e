"""Eager mode: the test's own call returns when what it called has ended."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from tasksim import Simulation, UsageError

STORES = [("amqp://", "cache+memory://"), ("amqp://", "redis://"), ("redis://", "redis://")]


def make_app(broker: str, backend: str) -> Celery:
    app = Celery("eager", broker=broker, backend=backend, set_as_current=False)

    @app.task(name="add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="total", shared=False)
    def total(parts: list[int]) -> int:
        return sum(parts)

    @app.task(name="flaky", shared=False, bind=True, max_retries=3)
    def flaky(self: Any) -> str:
        if self.request.retries < 2:
            raise self.retry(countdown=100)
        return "ok"

    @app.task(name="outer", shared=False)
    def outer() -> str:
        app.tasks["flaky"].delay()
        return "published"

    @app.task(name="broken", shared=False)
    def broken() -> None:
        raise ValueError("broken")

    return app


@pytest.fixture(params=STORES, ids=lambda pair: "-".join(pair))
def app(request: pytest.FixtureRequest) -> Celery:
    return make_app(*request.param)


@pytest.mark.parametrize("seed", range(3))
def test_a_call_returns_at_the_end_of_the_task(app: Celery, seed: int) -> None:
    with Simulation(app, mode="eager", seed=seed) as sim:
        result = app.tasks["add"].delay(1, 2)
        assert (result.state, result.result, sim.now) == ("SUCCESS", 3, 0.0)


def test_the_clock_moves_past_countdown_and_backoff(app: Celery) -> None:
    with Simulation(app, mode="eager") as sim:
        app.tasks["add"].apply_async((1, 2), countdown=60)
        assert sim.now == 60.0
        assert app.tasks["flaky"].delay().state == "SUCCESS"
        assert sim.now == 260.0


def test_a_failure_is_an_end_and_is_not_raised_by_the_call(app: Celery) -> None:
    with Simulation(app, mode="eager"):
        assert app.tasks["broken"].delay().state == "FAILURE"


def test_a_call_inside_a_task_publishes_and_returns(app: Celery) -> None:
    with Simulation(app, mode="eager") as sim:
        assert app.tasks["outer"].delay().result == "published"
        assert sim.now == 0.0
        sim.run()
        assert sim.now == 200.0


def test_a_canvas_is_waited_for_as_a_whole(app: Celery) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    with Simulation(app, mode="eager", workers=2):
        assert chain(add.s(1, 2), add.s(3)).delay().result == 6
        assert [one.result for one in group(add.s(i, i) for i in range(3))().results] == [0, 2, 4]
        assert chord([add.s(i, i) for i in range(3)])(total.s()).result == 6


def test_a_task_that_can_never_end_does_not_hold_the_test_for_ever(app: Celery) -> None:
    with Simulation(app, mode="eager", workers=0):
        assert app.tasks["add"].delay(1, 2).state == "PENDING"


def test_an_app_that_asks_for_celerys_eager_mode_is_run_for_real_with_a_notice(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.task_always_eager = True
    with caplog.at_level(logging.WARNING, "tasksim"), Simulation(app) as sim:
        app.tasks["add"].delay(1, 2)
        sim.run()
        assert [attempt.worker for attempt in sim.trace.attempts] == ["w1"]
    assert "task_always_eager" in caplog.text
    assert app.conf.task_always_eager


def test_an_unknown_mode_is_refused(app: Celery) -> None:
    with pytest.raises(UsageError, match="'broker' and 'eager'"):
        Simulation(app, mode="quick")
