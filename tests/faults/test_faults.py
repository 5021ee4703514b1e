"""Faults by hand: what they do, when, and to whom."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest
from kombu import Queue

from tasksim import PlannedFault, Simulation
from tasksim.errors import FaultNeverHappened, UsageError
from tasksim.events import Acked, Delivered, Redelivered, Requeued, Started
from tests.scene import AMQP, BROKERS, REDIS, make_app, sleeper

SEEDS = range(4)
both = pytest.mark.parametrize("broker", BROKERS)
seeds = pytest.mark.parametrize("seed", SEEDS)
near = pytest.approx


def attempts(sim: Simulation, result: Any) -> list[tuple[str, float, str]]:
    """Of one task: worker, start, what became of it."""
    return [(one.worker, round(one.started, 1), one.state) for one in sim.trace.of(result).attempts]


# --- kill


@seeds
@both
def test_an_acknowledged_task_is_lost_with_its_worker(broker: str, seed: int) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, workers=2, seed=seed) as sim:
        result = task.delay(10)
        sim.run(until=sim.started(task))
        victim = sim.trace.of(result).attempts[0].worker
        sim.kill(worker=victim, at=5)
        sim.run()
        assert attempts(sim, result) == [(victim, 0.0, "LOST")]
        assert sim.workers[victim].state == "down"
        assert sim.workers[victim].exitcode == -9
        assert sim.workers[victim].children == []


@seeds
def test_on_rabbitmq_a_late_acknowledged_task_goes_to_the_other_worker_at_once(seed: int) -> None:
    app = make_app(AMQP)
    task = sleeper(app, acks_late=True)
    with Simulation(app, workers=2, seed=seed) as sim:
        result = task.delay(10)
        sim.run(until=sim.started(task))
        victim = sim.trace.of(result).attempts[0].worker
        survivor = {"w1": "w2", "w2": "w1"}[victim]
        sim.kill(worker=victim, at=5)
        sim.run()
        assert attempts(sim, result) == [(victim, 0.0, "LOST"), (survivor, 5.0, "SUCCESS")]
        assert sim.trace.of(result).attempts[1].redelivered


@seeds
def test_on_redis_it_comes_back_when_the_visibility_timeout_has_passed(seed: int) -> None:
    app = make_app(REDIS, broker_transport_options={"visibility_timeout": 60})
    task = sleeper(app, acks_late=True)
    with Simulation(app, workers=2, seed=seed) as sim:
        result = task.delay(10)
        sim.run(until=sim.started(task))
        victim = sim.trace.of(result).attempts[0].worker
        sim.kill(worker=victim, at=5)
        sim.run()
        first, second = attempts(sim, result)
        assert first == (victim, 0.0, "LOST")
        assert second[2] == "SUCCESS"
        assert 60 <= second[1] <= 60 + 100  # kombu looks every ten seconds, and does something every tenth time


@both
def test_the_pool_process_of_a_task_can_be_killed_and_is_replaced(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(10)
        sim.advance(3)
        before = sim.workers["w1"].children
        sim.kill(task=result)
        sim.run()
        assert sim.trace.of(result).state == "FAILURE"
        assert type(result.result).__name__ == "WorkerLostError"
        assert sim.workers["w1"].state == "up"
        assert len(sim.workers["w1"].children) == len(before)
        assert sim.workers["w1"].children != before
        assert task.delay(1).get() == 1


def test_the_pool_process_can_be_named_by_the_task() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(10)
        sim.kill(task=task, at=3)
        sim.run()
        assert attempts(sim, result) == [("w1", 0.0, "LOST")]


def test_nothing_of_a_killed_task_runs_again() -> None:
    app = make_app()
    seen: list[str] = []

    @app.task(shared=False)
    def careful() -> None:
        import time

        try:
            time.sleep(10)
        except BaseException:
            seen.append("except")
            raise
        finally:
            seen.append("finally")

    with Simulation(app) as sim:
        careful.delay()
        sim.kill(worker="w1", at=5)
        sim.run()
        sim.advance(60)
    assert seen == []


@seeds
@both
def test_a_kill_at_the_nth_event_hits_between_that_event_and_all_that_follows(broker: str, seed: int) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, concurrency=1, seed=seed) as sim:
        results = [task.delay(10) for _ in range(3)]
        sim.kill(worker="w1", when=sim.started(task, nth=2))
        sim.run()
        assert [attempts(sim, result) for result in results] == [
            [("w1", 0.0, "SUCCESS")], [("w1", 10.0, "LOST")], [],
        ]  # fmt: skip
        death = sim.trace.where("WorkerDown")[0]
        assert death.time == sim.trace.where("Started")[1].time


@seeds
def test_a_kill_between_the_work_and_the_ack_lets_the_work_be_done_twice(seed: int) -> None:
    app = make_app()
    task = sleeper(app, acks_late=True)
    with Simulation(app, workers=2, seed=seed) as sim:
        result = task.delay(10)
        sim.run(until=sim.started(task))
        victim = sim.trace.of(result).attempts[0].worker
        sim.kill(worker=victim, when=sim.finished(task))
        sim.run()
        assert [state for _, _, state in attempts(sim, result)] == ["SUCCESS", "SUCCESS"]


def test_a_worker_starts_again_under_its_name() -> None:
    app = make_app()
    task = sleeper(app, acks_late=True)
    with Simulation(app) as sim:
        result = task.delay(10)
        sim.kill(worker="w1", at=5)
        sim.start_worker("w1", at=20)
        sim.run()
        (first, second) = attempts(sim, result)
        assert first == ("w1", 0.0, "LOST")
        assert second[0] == "w1"
        assert 20 < second[1] < 23
        assert sim.workers["w1"].state == "up"
        assert [event.process for event in sim.trace.where("Started")] == ["w1/1", "w1/3"]


# --- stop


@both
def test_a_warm_stop_lets_the_task_end_and_takes_no_other(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, concurrency=1) as sim:
        first, second = task.delay(10), task.delay(10)
        sim.stop(worker="w1", at=3)
        sim.run()
        assert attempts(sim, first) == [("w1", 0.0, "SUCCESS")]
        assert attempts(sim, second) == []
        assert sim.workers["w1"].state == "down"
        assert sim.workers["w1"].exitcode == 0
        assert sim.queues["celery"].ready == 1


@both
def test_a_cold_stop_ends_the_task_in_the_middle(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app, acks_late=True)
    with Simulation(app, concurrency=1) as sim:
        result = task.delay(100)
        sim.stop(worker="w1", how="cold", at=3)
        sim.run_until(lambda: sim.workers["w1"].state == "down", limit=60)
        assert attempts(sim, result)[0][2] != "SUCCESS"
        assert sim.now < 20


# --- connections


@seeds
@both
def test_after_a_cut_the_worker_connects_again_and_works(broker: str, seed: int) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, seed=seed) as sim:
        sim.cut(worker="w1", at=5)
        sim.run()
        assert sim.trace.where("Disconnected", worker="w1")
        sim.advance(10)
        assert task.delay(1).get() == 1
        assert sim.trace.where("Connected", worker="w1", time=lambda time: time >= 5)


def test_a_late_acknowledged_task_is_delivered_again_when_its_connection_is_cut() -> None:
    app = make_app()
    task = sleeper(app, acks_late=True)
    with Simulation(app, workers=2) as sim:
        result = task.delay(10)
        sim.run(until=sim.started(task))
        victim = sim.trace.of(result).attempts[0].worker
        sim.cut(worker=victim, at=5)
        sim.run()
        assert len(attempts(sim, result)) == 2


@both
def test_a_client_that_was_cut_connects_again(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        assert task.delay(1).get() == 1
        sim.cut(client=True)
        assert task.delay(2).get() == 2


def test_a_frozen_worker_hears_nothing_until_it_is_thawed() -> None:
    app = make_app(broker_heartbeat=0)
    task = sleeper(app)
    with Simulation(app) as sim:
        sim.freeze(worker="w1")
        result = task.delay(1)
        sim.thaw(worker="w1", at=30)
        sim.run()
        assert sim.trace.of(result).starts == [near(30, abs=0.01)]


def test_what_a_worker_sent_before_it_was_killed_arrives() -> None:
    app = make_app(task_acks_late=True)
    task = sleeper(app)

    def acked(killed_at: float | None) -> float:
        with Simulation(app, workers=2) as sim:
            sim.latency = 0.25
            task.delay(1)
            if killed_at is not None:
                sim.run(until=killed_at)
                [taken] = sim.trace.where(Delivered)
                sim.kill(worker=taken.process)
            sim.run()
            assert sim.trace.where(Redelivered) == []
            [ack] = sim.trace.where(Acked)
            return ack.time

    arrives = acked(None)
    assert acked(arrives - 0.125) == arrives


def test_rabbitmq_learns_only_by_its_heartbeat_of_a_worker_that_dies_behind_a_dead_network() -> None:
    app = make_app(task_acks_late=True, broker_heartbeat=10)
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(60)
        sim.freeze(worker="w1", at=5)
        sim.kill(worker="w1", at=6)
        sim.run(until=60)
        [back] = sim.trace.where(Requeued)
        assert 20 < back.time < 40


@both
def test_a_broker_that_refuses_is_an_error_and_then_none(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        sim.refuse(20)
        with pytest.raises(Exception, match="refused"):
            task.apply_async((1,), retry=False)
        sim.advance(20)
        assert task.delay(1).get() == 1


@both
def test_a_broker_refuses_also_before_anybody_has_connected(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, workers=0) as sim:
        sim.refuse()
        with pytest.raises(Exception, match="refused"):
            task.apply_async((1,), retry=False)
        sim.accept()
        task.delay(1)
        assert sim.queues["celery"].ready == 1


def test_accept_may_come_at_a_time() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers=0) as sim:
        sim.refuse()
        sim.accept(at=60)
        sim.advance(10)
        with pytest.raises(Exception, match="refused"):
            task.apply_async((1,), retry=False)
        sim.run(until=60)
        task.apply_async((1,), retry=False)


@seeds
def test_over_a_restart_of_rabbitmq_only_what_is_durable_and_persistent_lasts(seed: int) -> None:
    app = make_app(task_queues=[Queue("celery"), Queue("volatile", durable=False)])
    task = sleeper(app)
    with Simulation(app, workers=0, seed=seed) as sim:
        kept = task.apply_async((1,))
        transient = task.apply_async((1,), delivery_mode="transient")
        lost = task.apply_async((1,), queue="volatile")
        sim.restart_broker(down=5)
        sim.start_worker("w1", at=10)
        sim.run()
        assert [len(attempts(sim, one)) for one in (kept, transient, lost)] == [1, 0, 0]


@seeds
def test_over_a_restart_of_redis_everything_is_lost(seed: int) -> None:
    app = make_app(REDIS)
    task = sleeper(app)
    with Simulation(app, workers=0, seed=seed) as sim:
        task.delay(1)
        sim.restart_broker(down=5)
        sim.start_worker("w1", at=10)
        sim.run(until=30)
        assert sim.trace.starts == []


@both
def test_a_worker_comes_back_after_a_restart_of_the_broker(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        sim.restart_broker(down=5, at=3)
        sim.run(until=30)
        assert sim.workers["w1"].state == "up"
        result = task.delay(1)
        assert result.get() == 1


@both
def test_latency_delays_each_message_one_way(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(0).get()
        sim.latency = 0.25
        assert sim.latency == 0.25
        began = sim.now
        result = task.delay(0)
        sim.run()
        # There and back again; redis-py waits for each answer.
        assert 0.5 <= sim.trace.of(result).starts[0] - began <= 1.5


def test_a_clock_jumps_by_whole_seconds_of_any_type() -> None:
    with Simulation(make_app()) as sim:
        before = time.time()
        sim.jump_clock(-90.0)
        assert round(time.time() - before) == -90


# --- mistakes


@pytest.mark.parametrize(
    ("mistake", "remedy"),
    [
        (lambda sim: sim.kill(), "worker=NAME or task="),
        (lambda sim: sim.kill(worker="w1", task="sleeper"), "worker=NAME or task="),
        (lambda sim: sim.kill(worker="w9"), "the workers of this simulation: w1"),
        (lambda sim: sim.kill(task="sleeper"), "no pool process runs sleeper"),
        (lambda sim: sim.stop(worker="w1", how="softly"), "'warm'"),
        (lambda sim: sim.stop(worker="w9"), "the workers of this simulation: w1"),
        (lambda sim: sim.cut(), "worker=NAME or client=True"),
        (lambda sim: sim.cut(worker="w1", client=True), "worker=NAME or client=True"),
        (lambda sim: sim.cut(worker="w9"), "the workers of this simulation: w1"),
        (lambda sim: sim.kill(worker="w1", at=1, when=sim.started()), "at= or when="),
        (lambda sim: sim.kill(worker="w1", when=sim.on("Strated")), "did you mean Started"),
        (lambda sim: sim.start_worker("w1"), "stop or kill it"),
        (lambda sim: sim.jump_clock(1.5), "whole seconds"),
        (lambda sim: sim.jump_clock("1"), "whole seconds"),
        (lambda sim: sim.kill(worker="w1", at=timedelta(seconds=3)), "sim.now + timedelta"),
        (lambda sim: sim.stop(worker="w1", at="3"), "stop warm(at='3'): give a number of seconds since the start"),
        (lambda sim: sim.cut(worker="w1", at=inf), "would never come"),
        (lambda sim: sim.kill(worker="w1", at=-1), "before it only the workers start"),
        (lambda sim: sim.freeze(worker="w1", at=nan), "freeze(at=nan)"),
        (lambda sim: sim.kill(worker="w1", when="Started"), 'give a pattern, sim.on("Started")'),
        (lambda sim: sim.kill(worker="w1", when=Started), 'give a pattern, sim.on("Started")'),
        (lambda sim: sim.kill(worker="w1", when=lambda: True), "or sim.started(task)"),
        (lambda sim: sim.kill(worker=["w1"]), "the name of a worker as text"),
        (lambda sim: setattr(sim, "latency", "x"), "sim.latency='x': give seconds"),
        (lambda sim: setattr(sim, "latency", nan), "sim.latency=nan"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(mistake: Any, remedy: str) -> None:
    app = make_app()
    sleeper(app)
    with Simulation(app) as sim, pytest.raises(UsageError, match=re.escape(remedy)):
        mistake(sim)


def test_a_mistake_that_shows_only_later_is_told_where_the_test_waits() -> None:
    with Simulation(make_app()) as sim:
        sim.kill(worker="w9", at=5)
        with pytest.raises(UsageError, match="w9"):
            sim.run()


def test_a_mistake_that_shows_in_a_task_is_the_tests_and_not_the_tasks() -> None:
    app = make_app()
    sleep = sleeper(app)
    for event in ("Started", "Succeeded", "Acked"):
        with Simulation(app) as sim:
            sim.kill(worker="w9", when=sim.on(event))
            sleep.delay(1.0)
            with pytest.raises(UsageError, match="there is no worker 'w9'"):
                sim.run()
    with Simulation(app) as sim:
        sim.kill(worker="w9", when=sim.published(sleep))
        with pytest.raises(UsageError, match="there is no worker 'w9'"):
            sleep.delay(1.0)


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_who_publishes_dies_there_and_then(broker: str, seed: int) -> None:
    app = make_app(broker)
    told: list[str] = []

    @app.task(name="child", shared=False)
    def child() -> None:
        pass

    @app.task(name="parent", shared=False, acks_late=True, reject_on_worker_lost=True)
    def parent() -> None:
        told.append("before")
        child.delay()
        told.append("after")

    with Simulation(app, workers=2, seed=seed) as sim:
        sim.kill(worker="w1", when=sim.published(child))
        parent.delay()
        sim.run()
        ran_by = {one.worker for one in sim.trace.of(parent).attempts}
        if "w1" in ran_by:
            assert told == ["before", "before", "after"]
            assert len(sim.trace.of(child).starts) == 2


def test_a_fault_that_never_happens_is_told() -> None:
    app = make_app()

    def never() -> None:
        with Simulation(app) as sim:
            sim.kill(worker="w1", when=sim.on("Started", task="sleepr"))
            sim.run()

    with pytest.warns(FaultNeverHappened, match="kill w1 waits for Started with task=sleepr"):
        never()


def test_a_drawn_fault_may_never_happen() -> None:
    with Simulation(make_app()) as sim:
        PlannedFault("alarm", event="Started").plan(sim)
        sim.run()


def test_time_passes_in_one_direction() -> None:
    with Simulation(make_app()) as sim:
        with pytest.raises(UsageError, match="one direction"):
            sim.advance(-5)
        with pytest.raises(UsageError, match="seconds since the start"):
            sim.run(until=-1)


@pytest.mark.parametrize("plan", ["at", "kill", "start_worker"])
def test_a_plan_that_was_refused_is_not_waited_for(plan: str) -> None:
    with Simulation(make_app()) as sim:
        plans: dict[str, Any] = {
            "at": lambda: sim.at("5", print),  # type: ignore[arg-type]
            "kill": lambda: sim.kill(worker="w1", at="5"),  # type: ignore[arg-type]
            "start_worker": lambda: sim.start_worker("w2", at="5"),  # type: ignore[arg-type]
        }
        with pytest.raises(UsageError, match="seconds since the start"):
            plans[plan]()
        sim.run(limit=100)


def test_durations_may_be_numbers_of_any_kind_and_timedeltas() -> None:
    with Simulation(make_app()) as sim:
        for seconds in (1, 1.0, Decimal("0.5"), Fraction(1, 2), timedelta(seconds=2)):
            sim.advance(seconds)  # type: ignore[arg-type]
        assert sim.now == 5.0
        sim.latency = timedelta(milliseconds=2)  # type: ignore[assignment]
        assert sim.latency == 0.002
        sim.jump_clock(timedelta(seconds=60))  # type: ignore[arg-type]
        sim.refuse(inf)  # until accept()
        sim.advance(1000)
        sim.accept()
        sim.run(limit=inf)
