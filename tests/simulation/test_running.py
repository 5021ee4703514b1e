"""run, advance, run_until and at: how far the clock goes, and when it stops."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from datetime import timedelta
from math import inf, nan
from typing import Any

import kombu.transport.redis
import pytest

from tasksim import Limits, Simulation
from tasksim.errors import NothingLeftToDo, Spinning, Stuck, UsageError
from tasksim.events import Started
from tests.scene import AMQP, BROKERS, REDIS, make_app, sleeper

SEEDS = range(4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("broker", BROKERS)
def test_run_ends_at_the_very_instant_of_the_last_work(broker: str, seed: int) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, seed=seed) as sim:
        task.delay(12.5)
        task.delay(3)
        sim.run()
        assert sim.now == pytest.approx(12.5, abs=0.005)
        before = sim.now
        sim.run()
        assert sim.now == before


def test_the_clock_stands_at_0_when_the_test_begins_whatever_its_first_step_is() -> None:
    app = make_app()
    task = sleeper(app)
    for step in (
        lambda sim: None,
        lambda sim: sim.advance(0),
        lambda sim: task.delay(0),
        lambda sim: sim.queues,
        lambda sim: sim.run(),
        lambda sim: app.connection_for_write().connect(),
    ):
        with Simulation(app) as sim:
            step(sim)
            assert sim.now == pytest.approx(0, abs=0.001)


def test_a_sleep_as_the_first_step_counts_from_the_start() -> None:
    with Simulation(make_app()) as sim:
        time.sleep(5)
        assert sim.now == 5


def test_a_timeout_as_the_first_step_counts_from_the_start() -> None:
    app = make_app()
    with Simulation(app) as sim:
        from celery.exceptions import TimeoutError as CeleryTimeoutError

        with pytest.raises(CeleryTimeoutError):
            app.AsyncResult("nobody").get(timeout=3)
        assert sim.now == pytest.approx(3, abs=0.6)


def test_elapsed_time_is_right_across_the_first_step() -> None:
    with Simulation(make_app()) as sim:
        clocks = (time.time, time.monotonic, time.perf_counter)
        before = [clock() for clock in clocks]
        sim.advance(10)
        assert [clock() - was for clock, was in zip(clocks, before, strict=True)] == pytest.approx([10] * 3)


def test_advance_moves_the_clock_by_exactly_so_much() -> None:
    with Simulation(make_app()) as sim:
        sim.advance(0.25)
        sim.advance(7)
        assert sim.now == 7.25


def test_run_until_a_time_stops_there_whatever_is_left() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(10)
        sim.run(until=4)
        assert sim.now == 4
        assert not result.ready()
        sim.run(until=2)  # past: nothing happens
        assert sim.now == 4


@pytest.mark.parametrize("broker", BROKERS)
def test_run_until_a_pattern_stops_at_that_event(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app, concurrency=1) as sim:
        for _ in range(3):
            task.delay(10)
        sim.run(until=sim.started(task, nth=2))
        assert sim.now == pytest.approx(10, abs=0.01)
        sim.run_until(sim.finished(task))
        assert sim.now == pytest.approx(20, abs=0.01)


def test_run_until_a_condition_stops_when_it_is_so() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(6)
        sim.run(until=result.ready)
        assert sim.now == pytest.approx(6, abs=0.01)


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("countdown", [30, 1000])
def test_tasks_with_an_eta_are_waited_for(broker: str, countdown: int) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.apply_async((0,), countdown=countdown)
        sim.run()
        assert result.get() == 0
        assert sim.trace.of(result).starts == [pytest.approx(countdown, abs=0.01)]


def test_an_eta_far_away_is_no_reason_to_give_up() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, limits=Limits(stuck=300)) as sim:
        result = task.apply_async((0,), countdown=1000)
        sim.run()
        assert sim.trace.of(result).starts == [pytest.approx(1000, abs=0.01)]


def test_a_task_that_takes_long_is_no_reason_to_give_up() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, limits=Limits(stuck=300)) as sim:
        result = task.delay(1000)
        sim.run()
        assert result.get() == 1000


def test_run_with_a_limit_gives_up_there_and_can_go_on() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(100)
        with pytest.raises(Stuck, match="30"):
            sim.run(limit=30)
        assert sim.now == 30
        sim.run()
        assert sim.now == pytest.approx(100, abs=0.01)


def test_a_condition_with_a_limit_gives_up_there() -> None:
    with Simulation(make_app()) as sim:
        with pytest.raises(Stuck, match="5"):
            sim.run_until(lambda: False, limit=5)
        assert sim.now == 5


def test_an_action_happens_at_its_time_and_run_waits_for_it() -> None:
    with Simulation(make_app()) as sim:
        seen: list[float] = []
        sim.at(5, lambda: seen.append(sim.now))
        sim.at(2, lambda: seen.append(sim.now))
        sim.run()
        assert seen == [2, 5]
        assert sim.now == 5
        sim.at(1, lambda: seen.append(sim.now))
        sim.run()
        assert seen == [2, 5, 5]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("broker", BROKERS)
def test_an_action_may_publish_wait_and_sleep_as_the_test_does(broker: str, seed: int) -> None:
    app = make_app(broker)
    task = sleeper(app)
    seen: list[Any] = []
    with Simulation(app, seed=seed) as sim:

        def act() -> None:
            seen.append(task.delay(3).get())
            time.sleep(1)
            seen.append((sim.current_process.name, round(sim.now, 2)))

        sim.at(5, act)
        sim.run()
        assert seen[0] == 3
        assert seen[1] == ("client", pytest.approx(9.0, abs=0.51))  # the store is asked twice a second


def test_an_action_that_fails_fails_where_the_test_waits() -> None:
    def fail() -> None:
        raise ValueError("from the action")

    with Simulation(make_app()) as sim:
        sim.at(5, fail)
        with pytest.raises(ValueError, match="from the action"):
            sim.run()


def test_looking_at_a_result_again_and_again_ends() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app):
        result = task.delay(1)
        while not result.ready():
            pass
        assert result.get() == 1


# --- worlds that cannot go on


@pytest.mark.parametrize("backend", ["cache+memory://", "redis://", "rpc://"])
@pytest.mark.parametrize("broker", BROKERS)
def test_a_result_that_will_never_come_is_an_error_that_names_the_task_and_its_fate(broker: str, backend: str) -> None:
    app = make_app(broker, backend)
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(10)
        sim.kill(worker="w1", at=5)
        with pytest.raises(NothingLeftToDo) as caught:
            result.get()
        text = str(caught.value)
        assert "client" in text or "the test" in text
        assert result.id in text
        assert "Started" in text
        assert "w1 is down" in text


def test_an_idle_world_is_waited_in_no_longer_than_the_limit_says() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, limits=Limits(idle=60)) as sim:
        result = task.delay(10)
        sim.kill(worker="w1", at=5)
        with pytest.raises(NothingLeftToDo):
            result.get()
        assert 60 <= sim.now <= 70


def test_a_message_that_nobody_will_take_is_named() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.apply_async((1,), queue="nobody")
        sim.run()
        assert sim.queues["nobody"].ready == 1
        with pytest.raises(NothingLeftToDo, match=result.id):
            result.get()


@pytest.mark.parametrize("broker", BROKERS)
def test_a_message_that_is_delivered_endlessly_is_named(broker: str) -> None:
    from celery.exceptions import Reject

    app = make_app(broker)

    @app.task(bind=True, shared=False, acks_late=True)
    def reject(self: Any) -> None:
        raise Reject("again", requeue=True)

    with Simulation(app, limits=Limits(deliveries=50)) as sim:
        result = reject.delay()
        with pytest.raises(Spinning, match=result.id):
            sim.run()


def test_without_a_worker_a_wait_says_that_there_is_none() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers=0):
        result = task.delay(1)
        with pytest.raises(NothingLeftToDo, match="no worker"):
            result.get()


def test_beat_needs_an_end() -> None:
    with Simulation(make_app(), beat=True) as sim:
        with pytest.raises(UsageError, match="until"):
            sim.run()
        sim.run(until=10)
        assert sim.now == 10


def test_only_the_test_can_run_the_simulation() -> None:
    app = make_app(AMQP)
    with Simulation(app) as sim:

        @app.task(shared=False)
        def run() -> None:
            sim.run()

        result = run.delay()
        with pytest.raises(UsageError, match="only the test"):
            result.get()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["raise", "sys.exit", "os._exit"])
def test_run_ends_when_the_worker_has_noticed_that_a_task_left_its_process(how: str, seed: int) -> None:
    app = make_app()

    def leave() -> None:
        time.sleep(2)
        if how == "sys.exit":
            sys.exit(3)
        if how == "os._exit":
            os._exit(3)
        raise SystemExit(3)

    task = app.task(leave, name="leave")
    with Simulation(app, seed=seed) as sim:
        left = task.delay()
        sim.run()
        assert 2.0 <= sim.now < 8.0
        assert sim.trace.of(left).states == ["FAILURE"]
        assert "WorkerLostError" in repr(left.result)


@pytest.mark.parametrize("broker", BROKERS)
def test_a_worker_that_is_told_to_stop_by_remote_control_is_waited_for(broker: str) -> None:
    app = make_app(broker)
    sleep = sleeper(app)
    with Simulation(app, workers=2) as sim:
        sleep.delay(20)
        app.control.shutdown(destination=["w1@sim"])
        sim.run()
        assert (sim.workers["w1"].state, sim.workers["w2"].state) == ("down", "up")
        assert sim.trace.of("sleeper").attempts[0].state == "SUCCESS"
        app.control.shutdown()
        sim.run()
        assert {one.state for one in sim.workers.values()} == {"down"}


@pytest.mark.parametrize("seconds", [1795, 1860, 1865])
def test_a_worker_that_ends_because_it_held_a_delivery_for_too_long_is_waited_for(seconds: int) -> None:
    """RabbitMQ's consumer_timeout of half an hour; Celery takes the error for one that cannot be recovered from."""
    app = make_app(AMQP)
    sleep = sleeper(app, acks_late=True)
    with Simulation(app, concurrency=1) as sim:
        for _ in range(3):
            sleep.delay(seconds)
        sim.run()
        assert (sim.workers["w1"].state, sim.workers["w1"].exitcode) == ("down", 1)


def test_a_message_that_was_popped_and_is_not_yet_put_down_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = kombu.transport.redis.QoS.append

    def slow(*arguments: Any) -> Any:
        time.sleep(3)  # for a new connection, after a failover
        return real(*arguments)

    monkeypatch.setattr(kombu.transport.redis.QoS, "append", slow)
    app = make_app(REDIS)
    sleep = sleeper(app)
    with Simulation(app) as sim:
        sleep.delay(1)
        sim.run()
        assert [one.state for one in sim.trace.attempts] == ["SUCCESS"]
        sleep.delay(1)
        sim.run(until=lambda: len(sim.trace.where("Delivered")) == 2)
        sim.kill(worker="w1")  # in whose hands it is lost, in life too
        sim.run()


# --- what cannot be waited for


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("mistake", "remedy"),
    [
        (lambda sim: sim.run(until=sim.app.tasks["sleeper"]), "give sim.finished(task)"),
        (lambda sim: sim.run(until=sim.app.tasks["sleeper"].s(1)), "give sim.finished(task)"),
        (lambda sim: sim.run(until=Started), "sim.on(Started)"),
        (lambda sim: sim.run(until=dict), "a class is always true"),
        (lambda sim: sim.run(until=coroutine), "a plain function"),
        (lambda sim: sim.run(until=lambda sim: True), "called without arguments"),
        (lambda sim: sim.run(until="5"), "give seconds since the start, a pattern"),
        (lambda sim: sim.run(until=sim.app.AsyncResult("x")), "result.ready or sim.finished(result)"),
        (lambda sim: sim.run_until(5), "run_until(condition=5): give seconds"),
        (lambda sim: sim.run(until=inf), "run(until=inf): give a number of seconds since the start"),
        (lambda sim: sim.run(until=nan), "run(until=nan)"),
        (lambda sim: sim.run(until=timedelta(seconds=3)), "sim.now + timedelta"),
        (lambda sim: sim.run(limit="1"), "run(limit='1'): give seconds as a number"),
        (lambda sim: sim.run(limit=-1), "0 or more"),
        (lambda sim: sim.advance("1"), "advance(seconds='1')"),
        (lambda sim: sim.advance(nan), "advance(seconds=nan)"),
        (lambda sim: sim.advance(True), "advance(seconds=True)"),
        (lambda sim: sim.at(5, 7), "give a function without arguments"),
        (lambda sim: sim.at(5, coroutine), "a plain function"),
        (lambda sim: sim.at(timedelta(seconds=3), print), "sim.now + timedelta"),
        (lambda sim: sim.run_in(5), "give a function, and then its arguments"),
    ],
)
def test_what_cannot_be_waited_for_is_told_with_what_can(mistake: Any, remedy: str) -> None:
    app = make_app()
    sleeper(app)
    with Simulation(app) as sim:
        with pytest.raises(UsageError, match=re.escape(remedy)):
            mistake(sim)
        assert sim.now == 0
        assert sim.trace.where("Published") == []


def test_a_limit_holds_for_a_time_too() -> None:
    with Simulation(make_app()) as sim:
        with pytest.raises(Stuck, match=r"run\(until=5, limit=2\)"):
            sim.run(until=5, limit=2)
        assert sim.now == 2
        sim.run(until=5, limit=3)
        assert sim.now == 5
        sim.run(until=1, limit=0)  # past


@pytest.mark.parametrize("how", ["run", "run_until"])
def test_what_did_not_come_is_named(how: str) -> None:
    app = make_app()
    task = sleeper(app)

    def ready() -> bool:
        return False

    with Simulation(app) as sim:
        wait = (lambda until: sim.run(until=until, limit=5)) if how == "run" else lambda on: sim.run_until(on, limit=5)
        with pytest.raises(Stuck, match="the pattern Started number 2 with task=sleeper did not come true within 5"):
            wait(sim.started(task, nth=2))
        with pytest.raises(Stuck, match=r"the condition test_what_did_not_come_is_named.ready did not come true"):
            wait(ready)


def test_a_pattern_that_raises_fails_where_the_test_waits() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(1)
        with pytest.raises(UsageError, match=r"a condition of Started .* raised ZeroDivisionError"):
            sim.run(until=sim.on("Started", retries=lambda retries: 1 / retries))


@pytest.mark.parametrize("how", ["at", "thread"])
def test_a_planned_function_cannot_wait_for_its_own_end(how: str) -> None:
    with Simulation(make_app()) as sim:
        if how == "at":
            sim.at(5, sim.run)
            with pytest.raises(UsageError, match=r"give run\(until=...\)"):
                sim.run()
            assert sim.now == 5
            sim.at(6, lambda: sim.run(until=8))
            sim.run()
            assert sim.now == 8
        else:
            errors: list[Exception] = []

            def body() -> None:
                try:
                    sim.run()
                except UsageError as error:
                    errors.append(error)

            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
            assert len(errors) == 1
