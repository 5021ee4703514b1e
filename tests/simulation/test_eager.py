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


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_whose_link_fails_is_waited_for_until_nothing_is_left_to_do(app: Celery, seed: int) -> None:
    add, broken = app.tasks["add"], app.tasks["broken"]
    with Simulation(app, mode="eager", seed=seed) as sim:
        result = chain(add.s(1, 2).set(countdown=5), broken.si(), add.s(3)).delay()
        assert (result.state, result.parent.state, result.parent.parent.result) == ("FAILURE", "FAILURE", 3)
        assert sim.now == 5.0


def test_a_group_is_waited_for_to_its_slowest_member_at_the_end_of_a_chain_too(app: Celery) -> None:
    add = app.tasks["add"]
    with Simulation(app, mode="eager", workers=2) as sim:
        members = [add.s(1).set(countdown=wait) for wait in (30, 10)]
        assert [one.result for one in group(one.clone((1,)) for one in members).apply_async().results] == [2, 2]
        assert sim.now == 30.0
        assert [one.result for one in chain(add.s(2, 2), group(members)).delay().results] == [5, 5]
        assert sim.now == 60.0


def test_a_chord_whose_member_fails_does_not_hold_the_test_for_ever(app: Celery) -> None:
    with Simulation(app, mode="eager", workers=2):
        result = chord([app.tasks["add"].s(1, 1), app.tasks["broken"].s()])(app.tasks["total"].s())
        assert [one.state for one in result.parent.results] == ["SUCCESS", "FAILURE"]
        assert result.state == "FAILURE"


def test_links_run_when_the_test_waits_the_next_time(app: Celery) -> None:
    add, broken = app.tasks["add"], app.tasks["broken"]
    with Simulation(app, mode="eager") as sim:
        later = add.s(1).set(countdown=60)
        assert add.apply_async((1, 2), link=later).result == 3
        assert broken.apply_async(link_error=app.tasks["total"].si([4])).state == "FAILURE"
        assert sim.now == 0.0
        sim.run()
        assert sim.now == 60.0
        assert [len(sim.trace.of(name).attempts) for name in ("add", "total")] == [2, 1]


def test_a_task_sent_by_name_is_waited_for(app: Celery) -> None:
    with Simulation(app, mode="eager") as sim:
        assert app.send_task("add", (1, 2), countdown=7).result == 3
        assert sim.now == 7.0


def test_a_task_that_expires_or_is_revoked_has_ended(app: Celery) -> None:
    with Simulation(app, mode="eager") as sim:
        assert app.tasks["add"].apply_async((1, 2), countdown=60, expires=30).state == "REVOKED"
        assert 60.0 <= sim.now < 62.0


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
