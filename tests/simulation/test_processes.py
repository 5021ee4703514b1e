"""Workers, beat and scripts: how they are declared, started, and what each has for itself."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasksim import Simulation
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
    ],
)
def test_an_argument_that_makes_no_sense_is_told_with_what_would(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy.replace(".", r"\.")), Simulation(make_app(AMQP), **options) as sim:
        sim.advance(0)


@pytest.mark.parametrize("app", [object(), "no.such.module:app", "tests.scene:no_such_name"])
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
