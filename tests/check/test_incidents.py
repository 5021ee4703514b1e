"""Incidents that people had, run with real Celery: the check finds each and names it, and is silent about its cure."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject

from tasksim import Simulation
from tests.scene import AMQP, BROKERS, REDIS, Trouble, failing, make_app, sleeper

VISIBLE_FOR_3_S = {"visibility_timeout": 3, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}


def found(sim: Simulation) -> set[tuple[str, str | None]]:
    return {(finding.check, finding.incident) for finding in sim.check()}


def dying(app: Celery, **options: Any) -> Any:
    """A task that kills its own process."""

    @app.task(name="dying", shared=False, **options)
    def die() -> None:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize(("late", "incident"), [(False, "I6"), (True, None)])
def test_a_killed_worker_loses_what_was_acknowledged_early(broker: str, late: bool, incident: str | None) -> None:
    task = sleeper(make_app(broker), acks_late=late)
    with Simulation(task.app) as sim:
        task.delay()
        sim.kill(worker="w1", at=5)
        sim.run(until=30)
        assert found(sim) == ({("nothing_lost", incident)} if incident else set())


def test_a_worker_that_dies_before_its_early_ack_loses_nothing() -> None:
    task = sleeper(make_app())
    with Simulation(task.app) as sim:
        task.delay()
        sim.kill(worker="w1", when=sim.started(task))
        sim.run(until=30)
        assert sim.queues["celery"].ready == 1
        assert sim.check() == []


def test_a_kill_within_a_warm_stop_is_named_as_such() -> None:
    task = sleeper(make_app())
    with Simulation(task.app) as sim:
        task.delay(600)
        sim.stop(worker="w1", at=1)
        sim.kill(worker="w1", at=31)
        sim.run(until=40)
        assert found(sim) == {("nothing_lost", "I58")}


@pytest.mark.parametrize("broker", BROKERS)
def test_a_lost_pool_process_is_a_loss_although_it_acknowledges_late(broker: str) -> None:
    task = dying(make_app(broker), acks_late=True)
    with Simulation(task.app) as sim:
        task.delay()
        sim.run()
        assert found(sim) == {("nothing_lost", "I7")}


@pytest.mark.parametrize("broker", BROKERS)
def test_a_poison_message_comes_back_for_ever(broker: str) -> None:
    task = dying(make_app(broker), acks_late=True, reject_on_worker_lost=True)
    with Simulation(task.app) as sim:
        task.delay()
        sim.run(until=25)
        assert found(sim) == {("attempts_bounded", "I8")}


@pytest.mark.parametrize("broker", BROKERS)
def test_a_poison_message_that_is_retried_is_no_finding(broker: str) -> None:
    task = dying(make_app(broker, task_retry_on_worker_lost=True), acks_late=True, default_retry_delay=1)
    with Simulation(task.app) as sim:
        task.delay()
        sim.run()
        assert len(sim.trace.attempts) == 4
        assert sim.check() == []


@pytest.mark.parametrize(("times", "incident"), [(2, None), (20, "I10")])
def test_a_task_that_requeues_itself_is_a_loop_if_it_does_so_often(times: int, incident: str | None) -> None:
    app, left = make_app(), [times]

    @app.task(name="later", shared=False, acks_late=True)
    def later() -> None:
        time.sleep(0.1)
        left[0] -= 1
        if left[0] >= 0:
            raise Reject(requeue=True)

    with Simulation(app) as sim:
        later.delay()
        sim.run()
        assert found(sim) == ({("attempts_bounded", incident)} if incident else set())


@pytest.mark.parametrize(("acks_on_timeout", "incident"), [(True, None), (False, "I11")])
def test_a_timed_out_task_repeats_if_it_is_not_acknowledged(acks_on_timeout: bool, incident: str | None) -> None:
    task = sleeper(make_app(task_acks_on_timeout=acks_on_timeout), acks_late=True, time_limit=1)
    with Simulation(task.app) as sim:
        task.delay(5)
        sim.run(until=30)
        assert found(sim) == ({("attempts_bounded", incident)} if incident else set())


def test_what_waits_behind_a_long_task_beyond_the_visibility_timeout_runs_twice() -> None:
    app = make_app(REDIS, broker_transport_options=VISIBLE_FOR_3_S)
    task = sleeper(app)
    with Simulation(app, workers={"w1": {"concurrency": 1}}) as sim:
        task.delay(8)
        task.delay(0.6)
        sim.start_worker("w2", concurrency=1, at=5)
        sim.run(until=20)
        assert found(sim) == {("nothing_twice", "I4")}


@pytest.mark.parametrize(("most", "incident"), [(600, "I34"), (7200, None)])
def test_a_backoff_above_its_maximum_is_cut(most: int, incident: str | None) -> None:
    task = failing(make_app(), 1, retry_backoff=3600, retry_backoff_max=most, retry_jitter=False)
    with Simulation(task.app) as sim:
        task.delay()
        sim.run()
        assert found(sim) == ({("backoff_envelope", incident)} if incident else set())


@pytest.mark.parametrize(("options", "incident"), [({}, "I35"), ({"countdown": 1}, None)])
def test_a_retry_by_hand_ignores_the_backoff(options: dict[str, Any], incident: str | None) -> None:
    app = make_app()

    @app.task(name="by_hand", shared=False, bind=True, retry_backoff=1)
    def by_hand(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(**options)

    with Simulation(app) as sim:
        by_hand.delay()
        sim.run()
        assert found(sim) == ({("backoff_envelope", incident)} if incident else set())


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("seed", range(3))
def test_retries_etas_jitter_and_more_tasks_than_prefetch_are_no_finding(broker: str, seed: int) -> None:
    app = make_app(broker)
    fails, sleeps = failing(app, 3, retry_backoff=2), sleeper(app)
    with Simulation(app, workers=2, seed=seed) as sim:
        for number in range(6):
            fails.delay()
            sleeps.apply_async((1,), countdown=number)
            sleeps.delay(2)
        sleeps.apply_async((1,), expires=1)
        revoked = sleeps.apply_async((1,), countdown=5)
        revoked.revoke()
        sim.run()
        assert sim.check() == []


def test_a_retry_is_asked_for_with_what_holds_for_it() -> None:
    task = failing(make_app(AMQP), 2, max_retries=2, retry_backoff=4, retry_jitter=True)
    with Simulation(task.app) as sim:
        task.delay()
        sim.run()
        asked = sim.trace.where("RetryAsked")
        assert [(one.retries, one.source, one.max_retries, one.backoff, one.backoff_max) for one in asked] == [
            (0, "backoff", 2, 4, 600),
            (1, "backoff", 2, 4, 600),
        ]
        assert all(one.jitter and 0 <= one.delay <= 4 * 2**one.retries for one in asked)
        assert [one.due - one.time == pytest.approx(ask.delay) if one.due else ask.delay == 0 for one, ask in zip(
            sim.trace.where("Published", retries=lambda number: bool(number)), asked, strict=True
        )] == [True, True]  # fmt: skip


def test_a_retry_outside_a_worker_is_none() -> None:
    app = make_app()

    @app.task(name="direct", shared=False, bind=True)
    def direct(self: Any) -> None:
        raise self.retry(exc=Trouble())

    with Simulation(app) as sim:
        with pytest.raises(Trouble):
            direct()
        assert sim.trace.where("RetryAsked") == []


def test_a_redelivered_message_and_its_retry_are_two_though_their_id_is_one() -> None:
    app = make_app()

    @app.task(name="flaky", shared=False, bind=True, max_retries=3)
    def flaky(self: Any) -> None:
        raise self.retry(countdown=5)

    with Simulation(app) as sim:
        sim.cut("w1", when=sim.finished(flaky))
        flaky.delay()
        sim.run()
        assert len(sim.trace.of(flaky).starts) == 8
        assert {(one.check, one.incident) for one in sim.check()} == {("nothing_twice", "I28")}


@pytest.mark.parametrize("broker", BROKERS)
def test_a_clock_that_jumps_is_the_publishers_and_the_workers(broker: str) -> None:
    app = make_app(broker)

    @app.task(name="flaky", shared=False, bind=True, max_retries=2)
    def flaky(self: Any) -> None:
        raise self.retry(countdown=5)

    with Simulation(app) as sim:
        sim.jump_clock(3600)
        flaky.delay()
        sim.run()
        assert sim.check() == []
