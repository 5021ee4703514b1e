"""Workers, "Time limits", "Rate limits", "Revoke": what ends, holds up or discards a task."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from celery.result import AsyncResult

from tasksim import Simulation


def nap_of(app: Celery, **options: Any) -> Any:
    @app.task(name="nap", shared=False, **options)
    def nap(seconds: float = 10.0) -> float:
        time.sleep(seconds)
        return seconds

    return nap


# --- time limits


def test_a_task_cleans_up_in_a_hurry_at_its_soft_time_limit(app: Celery) -> None:
    @app.task(shared=False, soft_time_limit=60)
    def mytask() -> str:
        try:
            time.sleep(3600)
        except SoftTimeLimitExceeded:
            return "cleaned up"
        return "done"

    with Simulation(app) as sim:
        assert mytask.delay().get() == "cleaned up"
        assert sim.now == pytest.approx(60, abs=0.1)


def test_a_soft_time_limit_that_nobody_catches_is_the_tasks_failure(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, settings={"task_soft_time_limit": 30}):
        with pytest.raises(SoftTimeLimitExceeded):
            nap.delay(3600).get()
        assert nap.delay(3).get() == 3


def test_a_hard_time_limit_kills_the_process_and_another_takes_its_place(app: Celery) -> None:
    nap = nap_of(app, time_limit=120, soft_time_limit=None)
    with Simulation(app, concurrency=1) as sim:
        result = nap.delay(3600)
        with pytest.raises(TimeLimitExceeded):
            result.get()
        assert sim.now == pytest.approx(120, abs=1.5)
        assert nap.delay(3).get() == 3
        assert len(sim.trace.where("ProcessStarted")) == 2


def test_time_limits_of_one_call(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app) as sim:
        soft, hard = nap.apply_async((100,), soft_time_limit=5), nap.apply_async((100,), time_limit=20)
        sim.run()
        assert isinstance(soft.result, SoftTimeLimitExceeded)
        assert isinstance(hard.result, TimeLimitExceeded)


def test_time_limits_that_are_changed_by_control_hold_from_the_next_connection_on(app: Celery) -> None:
    """The guide says that they hold at once; recorded workers (time_limit_by_control) do otherwise."""
    nap = nap_of(app)
    with Simulation(app) as sim:
        replies = app.control.time_limit("nap", soft=60, hard=120, reply=True)
        assert replies == [{"w1@sim": {"ok": "time limits set successfully"}}]
        assert nap.delay(100).get() == 100
        sim.cut(worker="w1")
        sim.advance(5)
        with pytest.raises(SoftTimeLimitExceeded):
            nap.delay(100).get()


# --- rate limits


def test_a_rate_limit_by_control(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=8) as sim:
        app.control.rate_limit("nap", "200/m", destination=["w1@sim"], reply=True)
        for _ in range(20):
            nap.delay(1)
        sim.run()
        starts = sim.trace.of(nap).starts
        assert starts[-1] - starts[0] == pytest.approx(19 * 0.3, abs=0.5)


def test_rate_limits_are_switched_off_as_a_whole(app: Celery) -> None:
    nap = nap_of(app, rate_limit="1/m")
    with Simulation(app, settings={"worker_disable_rate_limits": True}, concurrency=4) as sim:
        for _ in range(4):
            nap.delay(1)
        sim.run()
        assert sim.now < 2


# --- revoking


def test_a_task_is_revoked_before_it_runs(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=1) as sim:
        result, waiting = nap.delay(), nap.delay()
        waiting.revoke()
        with pytest.raises(TaskRevokedError):
            waiting.get()
        assert result.get() == 10
        assert sim.trace.of(waiting).attempts == []


def test_a_running_task_is_terminated(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=1) as sim:
        result = nap.delay(3600)
        sim.run(until=5)
        app.control.revoke(result.id, terminate=True, signal="SIGKILL")
        with pytest.raises(TaskRevokedError):
            result.get()
        assert sim.now < 10
        assert nap.delay(1).get() == 1


def test_a_list_of_tasks_is_revoked_at_once(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=1) as sim:
        first, *others = [nap.delay() for _ in range(4)]
        app.control.revoke([one.id for one in others])
        sim.run()
        assert [one.state for one in (first, *others)] == ["SUCCESS", "REVOKED", "REVOKED", "REVOKED"]


def test_tasks_are_revoked_by_a_stamped_header(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=1) as sim:
        holder = nap.delay()
        stamped = nap.s(1)
        stamped.stamp(header_a="value_1", append_stamps=True)
        other = nap.s(2)
        other.stamp(header_a="value_2", append_stamps=True)
        hit, spared = stamped.apply_async(), other.apply_async()
        sim.run(until=1)
        app.control.revoke_by_stamped_headers({"header_a": ["value_1"]})
        sim.run()
        assert [one.state for one in (holder, hit, spared)] == ["SUCCESS", "REVOKED", "SUCCESS"]


def test_a_running_task_is_terminated_by_a_stamped_header(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app) as sim:
        signature = nap.s(3600)
        signature.stamp(monitoring_id="abc")
        result = signature.apply_async()
        sim.run(until=5)
        app.control.revoke_by_stamped_headers({"monitoring_id": "abc"}, terminate=True)
        sim.run()
        assert (result.state, sim.now < 60) == ("REVOKED", True)


def test_workers_forget_whom_they_revoked_unless_they_keep_a_state_database(app: Celery, tmp_path: Any) -> None:
    nap = nap_of(app)
    kept = {"w1": {"statedb": str(tmp_path / "worker.state")}}
    for workers, state in (({"w1": {}}, "SUCCESS"), (kept, "REVOKED")):
        with Simulation(app, workers=workers) as sim:
            result: AsyncResult = nap.apply_async((1,), countdown=600)
            sim.run(until=5)
            result.revoke()
            sim.advance(1)
            sim.stop("w1")
            sim.run(lambda sim=sim: sim.workers["w1"].state == "down")
            sim.start_worker("w1", **workers["w1"])
            sim.run()
            assert result.state == state
