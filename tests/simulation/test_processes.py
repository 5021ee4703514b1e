"""Workers, beat and scripts: how they are declared, started, and what each has for itself."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from tasksim import Limits, Simulation
from tasksim.errors import UnsupportedError, UsageError
from tests.scene import AMQP, BROKERS, make_app, sleeper

#: Cells of the test below.
counter = {"calls": 0}

both = pytest.mark.parametrize("broker", BROKERS)


# --- workers


@both
@pytest.mark.parametrize(
    ("workers", "names"),
    [(0, []), (2, ["w1", "w2"]), (["mail", "web"], ["mail", "web"]), ({"mail": {"concurrency": 3}}, ["mail"])],
)
def test_workers_are_a_number_names_or_a_mapping(broker: str, workers: Any, names: list[str]) -> None:
    with Simulation(make_app(broker), workers=workers) as sim:
        assert list(sim.workers) == names
        assert all(worker.state == "up" for worker in sim.workers.values())


def test_a_mapping_gives_each_worker_its_own_options() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers={"w1": {"concurrency": 3}, "w2": {"concurrency": 1, "queues": "slow"}}) as sim:
        assert [len(sim.workers[name].children) for name in ("w1", "w2")] == [3, 1]
        slow, fast = task.apply_async((1,), queue="slow"), task.delay(1)
        sim.run()
        assert [sim.trace.of(one).attempts[0].worker for one in (slow, fast)] == ["w2", "w1"]


@both
@pytest.mark.parametrize("queues", ["celery,slow", ["celery", "slow"]])
def test_queues_are_consumed_by_all_workers_that_have_none_of_their_own(broker: str, queues: Any) -> None:
    app = make_app(broker, task_routes={"*": {"queue": "slow"}})
    task = sleeper(app)
    with Simulation(app, workers={"w1": {"queues": "fast"}, "w2": {}}, queues=queues) as sim:
        assert [sim.workers[name].queue_names for name in ("w1", "w2")] == [["fast"], ["celery", "slow"]]
        sim.start_worker("w3", wait=True)
        assert sim.workers["w3"].queue_names == ["celery", "slow"]
        result = task.delay(1)
        assert result.get() == 1
        assert sim.trace.of(result).attempts[0].worker != "w1"


@pytest.mark.parametrize("queues", ["", "a,,b", [], [3]])
def test_queues_that_are_no_names_are_refused(queues: Any) -> None:
    with pytest.raises(UsageError, match="give names, as a list"):
        Simulation(make_app(), queues=queues)


def test_concurrency_is_the_simulations_then_the_apps_then_two() -> None:
    with Simulation(make_app()) as sim:
        assert len(sim.workers["w1"].children) == 2
    with Simulation(make_app(worker_concurrency=3)) as sim:
        assert len(sim.workers["w1"].children) == 3
    with Simulation(make_app(worker_concurrency=3), concurrency=1) as sim:
        assert len(sim.workers["w1"].children) == 1


@both
def test_settings_of_a_simulation_reach_tasks_that_were_called_before(broker: str) -> None:
    app = make_app(broker, backend="redis://")
    task = sleeper(app)
    changed = {"task_serializer": "pickle", "accept_content": ["pickle", "json"], "task_ignore_result": True}
    for settings in ({}, changed, {}):
        with Simulation(app, settings=settings) as sim:
            result = task.delay(1)
            sim.run()
            assert sim.publications[0].serializer == settings.get("task_serializer", "json")
            assert sim.trace.of(result).states == ([] if settings else ["SUCCESS"])


def test_settings_of_one_worker_are_not_the_others() -> None:
    app = make_app()

    @app.task(shared=False, name="look")
    def look() -> str:
        return str(app.conf.timezone)

    workers = {"w1": {"queues": "one", "conf": {"timezone": "Europe/Berlin"}}, "w2": {"queues": "two"}}
    with Simulation(app, workers=workers):
        assert look.apply_async(queue="one").get() == "Europe/Berlin"
        assert look.apply_async(queue="two").get() == "None"
        assert app.conf.timezone is None


def test_a_worker_can_be_started_at_a_time_and_waited_for() -> None:
    with Simulation(make_app(), workers=1) as sim:
        sim.start_worker("w2", at=10)
        assert "w2" not in sim.workers
        sim.run(until=10.1)
        assert sim.workers["w2"].state == "booting"
        sim.start_worker("w3", wait=True)
        assert sim.workers["w3"].state == "up"
        sim.run()
        assert sim.workers["w2"].state == "up"


def test_a_worker_may_have_another_app() -> None:
    app, other = make_app(), make_app()
    here = sleeper(app)

    @other.task(name="sleeper", shared=False)
    def sleep(seconds: float) -> str:
        time.sleep(seconds)
        return "the other app's"

    with Simulation(app, workers=0) as sim:
        sim.start_worker("w1", app=lambda: other, wait=True)
        assert here.delay(1).get() == "the other app's"


def test_several_apps_meet_at_one_broker() -> None:
    app, other = make_app(), make_app()
    here, there = sleeper(app), sleeper(other)
    with Simulation(app) as sim:
        assert here.delay(1).get() == 1
        result = there.delay(2)
        sim.run()
        assert sim.trace.of(result).state == "SUCCESS"
        assert result.get() == 2


def test_handles_tell_what_is_so() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app) as sim:
        worker = sim.workers["w1"]
        assert (worker.name, worker.hostname, worker.state, worker.exitcode) == ("w1", "w1@sim", "up", None)
        assert worker.children == ["w1/1", "w1/2"]
        result = task.delay(10)
        sim.advance(1)
        assert worker.active == [result.id]
        assert worker.queue_names == ["celery"]
        sim.stop(worker="w1")
        sim.run()
        assert (worker.state, worker.exitcode, worker.children, worker.active) == ("down", 0, [], [])


def test_a_worker_that_cannot_start_says_why() -> None:
    app = make_app()
    with (
        Simulation(app, workers={"w1": {"queues": "a", "pool": "no_such_pool"}}) as sim,
        pytest.raises(UsageError) as it,
    ):
        sim.advance(0)
    assert "w1 did not start" in str(it.value)


# --- what a process has for itself


def test_cells_belong_to_a_process_and_are_copied_at_a_fork() -> None:
    app = make_app()

    @app.task(shared=False, name="count")
    def count() -> int:
        counter["calls"] += 1
        return counter["calls"]

    counter["calls"] = 5
    with Simulation(app, concurrency=1, cells=[f"{__name__}.counter"]) as sim:
        assert [count.delay().get() for _ in range(3)] == [6, 7, 8]
        assert counter["calls"] == 5
        sim.kill(worker="w1")
        sim.start_worker("w1", wait=True)
        assert count.delay().get() == 6
    assert counter["calls"] == 5


def test_what_is_no_cell_is_shared() -> None:
    app = make_app()

    @app.task(shared=False, name="count")
    def count() -> int:
        counter["calls"] += 1
        return counter["calls"]

    counter["calls"] = 0
    with Simulation(app, workers=2, concurrency=1):
        assert [count.delay().get() for _ in range(3)] == [1, 2, 3]
    assert counter["calls"] == 3


def test_a_task_sees_its_own_pid_and_its_parents() -> None:
    app = make_app()

    @app.task(shared=False, name="pids")
    def pids() -> list[int]:
        return [os.getpid(), os.getppid()]

    with Simulation(app, concurrency=1) as sim:
        own, parent = pids.delay().get()
        assert parent == sim.workers["w1"].pid
        assert own not in (parent, os.getpid())


def test_a_task_that_exits_takes_its_process_with_it() -> None:
    app = make_app()

    @app.task(shared=False, name="leave")
    def leave() -> None:
        os._exit(3)

    with Simulation(app, concurrency=1) as sim:
        result = leave.delay()
        sim.run()
        assert type(result.result).__name__ == "WorkerLostError"
        assert [event.exitcode for event in sim.trace.where("ProcessEnded")] == [3]


def test_a_real_subprocess_takes_no_virtual_time() -> None:
    app = make_app()

    @app.task(shared=False, name="run")
    def run() -> str:
        return subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout

    with Simulation(app) as sim:
        assert run.delay().get() == "42\n"
        assert sim.now < 1


def test_a_real_subprocess_can_fail_and_be_killed_and_leaves_no_zombie() -> None:
    app = make_app()

    @app.task(shared=False, name="run")
    def run() -> list[int]:
        failed = subprocess.run([sys.executable, "-c", "raise SystemExit(3)"])
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as sleeping:
            sleeping.kill()
        return [failed.returncode, sleeping.returncode]

    with Simulation(app):
        assert run.delay().get() == [3, -9]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_task_may_not_kill_what_is_not_its_own() -> None:
    app = make_app()

    @app.task(shared=False, name="kill")
    def kill(pid: int) -> None:
        os.kill(pid, 0)

    with Simulation(app), pytest.raises(ProcessLookupError):
        kill.delay(1).get()


def test_a_real_fork_in_a_task_is_refused() -> None:
    app = make_app()

    @app.task(shared=False, name="fork")
    def fork() -> int:
        return os.fork()

    with Simulation(app), pytest.raises(UnsupportedError, match="fork"):
        fork.delay().get()


# --- scripts


@both
def test_a_script_is_a_client_of_its_own(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)

    def script(seconds: float) -> tuple[float, int]:
        return task.delay(seconds).get(), os.getpid()

    with Simulation(app) as sim:
        first = sim.run_in(script, 3, name="cron")
        second = sim.run_in(script, 5)
        assert first.result()[0] == 3
        assert first.done
        sim.run()
        assert second.result()[0] == 5
        assert len({first.result()[1], second.result()[1], os.getpid()}) == 3
        assert {event.process for event in sim.trace.where("Published")} == {"cron", "script"}


def test_what_a_script_raises_comes_out_of_its_result() -> None:
    def script() -> None:
        raise ValueError("from the script")

    with Simulation(make_app()) as sim, pytest.raises(ValueError, match="from the script"):
        sim.run_in(script).result()


def test_a_script_that_was_killed_has_no_result_and_is_not_waited_for() -> None:
    with Simulation(make_app()) as sim:
        handle = sim.run_in(time.sleep, 100)
        sim.at(5, lambda: os.kill(handle.process.pid, 9))
        sim.run()
        assert sim.now == 5
        with pytest.raises(UsageError, match="SIGKILL"):
            handle.result()


# --- beat


@pytest.mark.parametrize("seed", range(4))
@both
def test_beat_sends_what_is_due(broker: str, seed: int) -> None:
    app = make_app(broker, beat_schedule={"nap": {"task": "sleeper", "schedule": timedelta(seconds=30), "args": [1]}})
    task = sleeper(app)
    with Simulation(app, beat=True, seed=seed) as sim:
        sim.run(until=95)
        # Beat boots with the workers, two seconds before the start, and counts from there.
        assert [round(start) for start in sim.trace.of(task).starts] == [28, 58, 88]
        assert sim.stop_beat() == 0
        sim.run()
        assert 95 <= sim.now < 97


def test_beat_can_be_started_later_and_waited_for() -> None:
    app = make_app(beat_schedule={"nap": {"task": "sleeper", "schedule": 10.0, "args": [0]}})
    task = sleeper(app)
    with Simulation(app) as sim:
        sim.start_beat(at=20, wait=True)
        assert 20 <= sim.now < 21
        sim.run(until=45)
        assert [round(start) for start in sim.trace.of(task).starts] == [30, 40]


# --- the end


def test_a_simulation_leaves_nothing_behind() -> None:
    app = make_app()
    task = sleeper(app)
    before = (time.sleep, os.getpid, random.getstate(), dict(os.environ), app.conf.broker_url)
    with Simulation(app, broker="redis://elsewhere") as sim:
        task.delay(100)
        sim.advance(5)
    assert (time.sleep, os.getpid, random.getstate(), dict(os.environ), app.conf.broker_url) == before


def test_no_finally_of_a_task_runs_when_a_simulation_ends_in_the_middle_of_it_nor_at_interpreter_exit() -> None:
    program = textwrap.dedent(
        """
        import gc, time
        from tasksim import Simulation
        from tests.scene import make_app

        app = make_app()

        @app.task(shared=False)
        def careful():
            try:
                time.sleep(100)
            finally:
                print("finally of a task")

        with Simulation(app, workers=2) as sim:
            careful.delay()
            careful.delay()
            sim.kill(worker="w1", at=5)
            sim.at(7, lambda: careful.delay().get())
            sim.advance(10)
        gc.collect()
        print("the end")
        """
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=root
    )
    assert done.stdout == "the end\n"


# --- mistakes


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"workers": True}, "a number, a list of names, or a mapping"),
        ({"workers": "w1"}, "a number, a list of names, or a mapping"),
        ({"workers": -1}, "0 or more"),
        ({"concurrency": 0}, "1 or more"),
        ({"seed": "seven"}, "a whole number"),
        ({"start": "tomorrow"}, "an aware datetime"),
        ({"cells": ["no.such.name"]}, "package.module.attribute"),
        ({"broker": "sqs://"}, "amqp://"),
        ({"rabbitmq": "banana"}, "4.1"),
        ({"workers": {"w1": {"no_such_option": 1}}}, "no_such_option"),
        ({"rabbitmq": 4.1}, 'rabbitmq=4.1: give a version, such as "4.1", as text'),
        ({"redis": 7.2}, 'redis=7.2: give a version, such as "7.2", as text'),
        ({"limits": {"idle": 3}}, "give Limits"),
        ({"limits": Limits(idle=None)}, "Limits(idle=None): give a number above 0"),
        ({"limits": Limits(stuck=nan)}, "above 0"),
        ({"limits": Limits(steps=0)}, "above 0"),
        ({"limits": Limits(deliveries=True)}, "above 0"),
        ({"limits": Limits(block=inf)}, "such as 3600"),
        ({"queues": 3}, "give names"),
        ({"redis_config": "save 1 1"}, "give a mapping"),
        ({"settings": 3}, "settings=3: give a mapping"),
        ({"settings": {3: 4}}, "give a mapping of names"),
        ({"workers": {"w1": 3}}, "workers['w1']=3: give a mapping"),
        ({"workers": {"w1": {"conf": [1]}}}, "workers['w1']: conf=[1]: give a mapping"),
        ({"workers": {"w1": {"concurrency": 2.0}}}, "concurrency=2.0: give 1 or more"),
        ({"workers": {"w1": {"concurrency": -1}}}, "concurrency=-1: give 1 or more"),
        ({"workers": {"w1": {"start": "5"}}}, "start='5': give a number of seconds"),
        ({"concurrency": True}, "a whole number"),
        ({"workers": ["w1", "w1"]}, "named twice"),
        ({"workers": ["a/b"]}, 'a name has no "/"'),
        ({"workers": ["client"]}, "something else"),
        ({"workers": {"broker": {}}}, "something else"),
        ({"workers": ["beat"]}, "something else"),
        ({"workers": [""]}, "give its name as text"),
        ({"workers": [5]}, "give its name as text"),
        ({"memory": 5}, "lambda child"),
        ({"allow": 5}, "give a list of texts"),
        ({"cells": [None]}, "give a list of texts"),
    ],
)
def test_an_argument_that_makes_no_sense_is_told_with_what_would(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UsageError, match=re.escape(remedy)), Simulation(make_app(AMQP), **options) as sim:
        sim.advance(0)


@pytest.mark.parametrize(
    "app",
    [object(), "no.such.module:app", "tests.scene:no_such_name", "", ":app", "tests.scene:", ".scene:app", sys,
     make_app, "tests.scene:AMQP"],
)  # fmt: skip
def test_what_is_no_app_is_told(app: Any) -> None:
    with pytest.raises(UsageError, match="app="):
        Simulation(app)


def test_a_simulation_that_is_not_running_says_how_it_is_used() -> None:
    sim = Simulation(make_app())
    with pytest.raises(UsageError, match="with Simulation"):
        sim.run()
    with sim:
        sim.advance(1)
        with pytest.raises(UsageError, match="running already"), sim:
            pass
    with pytest.raises(UsageError, match="with Simulation"):
        sim.advance(1)


def test_two_simulations_at_one_time_are_refused() -> None:
    with Simulation(make_app()), pytest.raises(UsageError, match="running already"), Simulation(make_app()):
        pass


def test_a_function_that_makes_the_app_is_told_from_the_app() -> None:
    with pytest.raises(UsageError, match=r"that is a function.*give what it makes"):
        Simulation("tests.scene:make_app")
    with pytest.raises(UsageError, match="that is a module"):
        Simulation("tests:scene")


@pytest.mark.parametrize("none", [{"allow": None, "cells": None}, {"limits": None, "settings": None}])
def test_none_of_something_is_nothing(none: dict[str, Any]) -> None:
    with Simulation(make_app(), **none) as sim:
        sim.run()


def test_hosts_and_cells_may_be_one_text_or_be_generated() -> None:
    here = f"{__name__}.counter"
    for form in (lambda one: one, lambda one: (each for each in [one])):
        # A store elsewhere needs a host that is allowed; whether there is one is asked more than once.
        app = make_app(backend="cache+memory://")
        with Simulation(app, allow=form("db:5432"), cells=form(here)) as sim:
            assert sim._world._allow == ["db:5432"]
            assert sim._world._cells == [here]


@pytest.mark.parametrize(
    "use",
    ["now", "trace", "latency", "publications", "on", "started", "check", "assert_published", "forget_published",
     "refuse", "accept", "slow", "alarm", "stop_beat", "kill", "run", "queues", "workers", "worker_up"],
)  # fmt: skip
def test_a_simulation_that_was_never_opened_says_so(use: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {"on": ("Started",), "slow": (1,), "kill": ("w1",)}
    sim = Simulation(make_app())
    with pytest.raises(UsageError, match="not running"):
        getattr(sim, use)(*arguments.get(use, ()))
    assert str(sim.rules) == "RabbitMQ 4.1"


def test_what_was_seen_can_be_asked_when_it_is_over() -> None:
    with Simulation(make_app()) as sim:
        sim.advance(3)
    assert (sim.now, sim.latency, sim.check(), sim.publications) == (3, 0, [], [])
    assert len(sim.trace) > 0


# --- starts that fail


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_tasks_per_child": "1"}, "Error("),  # a ValueError, of billiard before 4.2.4 an AssertionError
        ({"concurrency": 2.0}, "start_worker('w2', concurrency=2.0): give 1 or more"),
        ({"concurrency": -1}, "give 1 or more"),
        ({"conf": [1]}, "give a mapping"),
        ({"at": "5"}, "seconds since the start"),
        ({"at": 5, "nonsense": 1}, "no worker has the option 'nonsense'"),
        ({"concurency": 1}, "did you mean 'concurrency'?"),
    ],
)
def test_a_worker_that_does_not_start_is_told_with_the_reason(options: dict[str, Any], reason: str) -> None:
    with Simulation(make_app()) as sim:
        with pytest.raises(UsageError, match=re.escape(reason)):
            sim.start_worker("w2", wait=True, **options)
        sim.run()


def test_a_declared_worker_that_does_not_start_is_told_with_the_reason() -> None:
    with (
        Simulation(make_app(), workers={"w1": {"max_tasks_per_child": "1"}}) as sim,
        pytest.raises(UsageError, match=r"worker w1 did not start: (Value|Assertion)Error\("),
    ):
        sim.advance(0)


def test_a_worker_that_is_planned_is_waited_for_however_late_it_comes() -> None:
    with Simulation(make_app()) as sim:
        sim.start_worker("w2", at=400, wait=True)
        assert sim.now == pytest.approx(401, abs=1)
        sim.kill(worker="w2")
        sim.start_worker("w2", at=500, wait=True)  # not the dead one
        assert (sim.now > 500, sim.workers["w2"].state) == (True, "up")


def test_a_worker_that_is_killed_while_it_boots_is_no_mistake() -> None:
    with Simulation(make_app()) as sim:
        sim.kill(worker="w2", at=0.5)
        sim.start_worker("w2", wait=True)
        assert (sim.workers["w2"].state, sim.workers["w2"].exitcode) == ("down", -9)


@pytest.mark.parametrize("name", [5, "", "a/b", "client", "broker", "beat"])
def test_a_worker_cannot_be_called_so(name: Any) -> None:
    with Simulation(make_app()) as sim, pytest.raises(UsageError, match="start_worker"):
        sim.start_worker(name)


def test_processes_of_two_kinds_have_two_names() -> None:
    with Simulation(make_app()) as sim:
        sim.start_beat("other")
        for start in (lambda: sim.start_worker("other"), lambda: sim.start_beat("w1"), lambda: sim.start_beat(5)):
            with pytest.raises(UsageError, match="start_"):
                start()
        for name in ("w1", "other", 5, "a/b"):
            with pytest.raises(UsageError, match="run_in"):
                sim.run_in(print, name=name)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"nonsense": 1}, "no beat has the option 'nonsense'"),
        ({"conf": {}}, "settings go into"),
        ({"quiet": True}, "no beat has the option 'quiet'"),
        ({"scheduler": "no:X"}, "beat 'beat' did not start: ModuleNotFoundError"),
        ({"at": 400, "scheduler": "no:X"}, "ModuleNotFoundError"),
        ({"at": "5"}, "seconds since the start"),
    ],
)
def test_a_beat_that_does_not_start_is_told_with_the_reason(options: dict[str, Any], reason: str) -> None:
    with Simulation(make_app()) as sim:
        with pytest.raises(UsageError, match=re.escape(reason)):
            sim.start_beat(wait=True, **options)
        sim.run()


def test_a_declared_beat_that_does_not_start_is_told_with_the_reason() -> None:
    with (
        Simulation(make_app(beat_scheduler="no:X"), beat=True) as sim,
        pytest.raises(UsageError, match="beat 'beat' did not start"),
    ):
        sim.advance(0)


# --- memory


@pytest.mark.parametrize(
    ("curve", "told"),
    [(lambda child: 1 / 0, "raised ZeroDivisionError"), (lambda child: None, "gave None"), (lambda child: nan, "nan"),
     (lambda child: inf, "inf"), (lambda child: "5", "gave '5'"), (lambda: 5, "raised TypeError")],
)  # fmt: skip
def test_a_curve_of_memory_that_cannot_be_read_fails_where_the_test_waits(curve: Any, told: str) -> None:
    app = make_app(worker_max_memory_per_child=100_000)
    task = sleeper(app)
    with Simulation(app, concurrency=1, memory=curve) as sim:
        task.delay(1)
        with pytest.raises(UsageError, match=f"memory= {told}|memory= gave {told}"):
            sim.run()


def test_a_pattern_of_a_worker_takes_fields_and_a_number() -> None:
    with Simulation(make_app(), workers=0) as sim:
        for name in ("w1", "w2"):
            sim.start_worker(name, at=5)
        sim.run(until=sim.worker_up(nth=2))
        assert {one.state for one in sim.workers.values()} == {"up"}
        sim.start_worker("w3")
        sim.run(until=sim.worker_up("w3", nth=1, worker="w3"))
