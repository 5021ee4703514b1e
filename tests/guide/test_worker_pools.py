"""Workers, "Concurrency": which pool, how large, how its processes are renewed, and how tasks are handed to them."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.concurrency.base import apply_target
from celery.concurrency.thread import ApplyResult, TaskPool
from celery.exceptions import Ignore

from tasksim import Simulation


def nap_of(app: Celery) -> Any:
    @app.task(name="nap", shared=False)
    def nap(seconds: float = 10.0) -> int:
        time.sleep(seconds)
        return os.getpid()

    return nap


class Stopped(Ignore):
    """Raised in the middle of a task that is terminated; the task keeps the state that `revoke` gave it."""


class StoppableThreads(TaskPool):
    """A pool of threads whose `terminate` works: an exception is raised in the task's thread."""

    def on_apply(
        self, target: Callable[..., Any], args: Any = None, kwargs: Any = None, callback: Any = None,
        accept_callback: Any = None, **_: Any,
    ) -> ApplyResult:  # fmt: skip
        future = self.executor.submit(
            apply_target, target, args, kwargs, callback, accept_callback, getpid=threading.get_ident
        )
        return ApplyResult(future)

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        raised = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(pid), ctypes.py_object(Stopped))
        assert raised == 1


def test_a_pool_of_the_users_own_is_named_by_worker_pool(app: Celery) -> None:
    app.conf.worker_pool = f"{__name__}:StoppableThreads"
    steps = []

    @app.task(shared=False)
    def count() -> None:
        for step in range(60):
            steps.append(step)
            time.sleep(1)

    with Simulation(app, concurrency=2) as sim:
        stats = app.control.inspect(timeout=1).stats()["w1@sim"]["pool"]
        assert stats["implementation"] == f"{__name__}:StoppableThreads"
        first, second = count.delay(), count.delay()
        sim.advance(5.5)
        first.revoke(terminate=True)
        sim.run()
        assert (first.state, second.state) == ("REVOKED", "SUCCESS")
        assert len(steps) == 6 + 60
        assert count.delay().wait(timeout=100) is None


def test_nobody_has_the_thread_that_a_terminate_names() -> None:
    app = Celery("proj", broker="amqp://", backend="redis://")

    @app.task(shared=False)
    def throw() -> int:
        return ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(77), ctypes.py_object(Stopped))

    with Simulation(app):
        assert throw.delay().get() == 0


def test_max_tasks_per_child_renews_a_pool_process(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=1, settings={"worker_max_tasks_per_child": 2}):
        pids = [result.get() for result in [nap.delay(1) for _ in range(6)]]
    assert [pids.index(pid) // 2 for pid in pids] == [0, 0, 1, 1, 2, 2]


def test_max_memory_per_child_renews_a_pool_process_that_grows(app: Celery) -> None:
    nap = nap_of(app)
    app.conf.worker_max_memory_per_child = 12000  # 12 MB
    with Simulation(app, concurrency=1, memory=lambda child: 9_000 + 1_500 * child.tasks.count("nap")) as sim:
        pids = [result.get() for result in [nap.delay(1) for _ in range(7)]]
        assert len(sim.trace.where("ProcessStarted")) == 3
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_memory_may_grow_with_time(app: Celery) -> None:
    nap = nap_of(app)
    app.conf.worker_max_memory_per_child = 12000
    with Simulation(app, concurrency=1, memory=lambda child: 1_000 * child.age):
        early = nap.delay(5).get()
        assert nap.delay(8).get() == early
        assert nap.delay(1).get() != early


def test_without_a_curve_of_memory_the_worker_is_told_how_to_declare_one(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("proj", broker="amqp://", backend="redis://")
    nap = nap_of(app)
    with Simulation(app, workers={"w1": {"max_memory_per_child": 12000}}) as sim:
        assert [nap.delay(1).get() for _ in range(2)]
        assert len(sim.trace.where("ProcessStarted")) == 2
    assert "Simulation(memory=lambda child: " in caplog.text


def test_autoscale_grows_with_the_load_and_shrinks_when_idle(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, workers={"w1": {"autoscale": "10,3"}}) as sim:
        sim.run(until=1)
        assert len(sim.workers["w1"].children) == 3
        results = [nap.delay(60) for _ in range(8)]
        sim.run(until=50)
        assert len(sim.workers["w1"].children) >= 8
        sim.run(until=400)
        assert len(sim.workers["w1"].children) == 3
        assert all(result.successful() for result in results)


@pytest.mark.parametrize(("option", "waits"), [("fair", False), ("default", False), ("fast", True)])
def test_the_option_fair_gives_a_pool_process_a_task_when_it_is_free(app: Celery, option: str, waits: bool) -> None:
    nap = nap_of(app)
    with Simulation(app, workers={"w1": {"concurrency": 2, "optimization": option}}) as sim:
        nap.delay(100)
        short = [nap.delay(1) for _ in range(4)]
        sim.run()
        assert (max(sim.trace.of(one).starts[0] for one in short) >= 100) is waits


def test_prefetch_multiplier_one_and_late_acks_reserve_one_task_for_each_process(app: Celery) -> None:
    app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True)
    nap = nap_of(app)
    with Simulation(app, concurrency=2) as sim:
        results = [nap.delay() for _ in range(6)]
        sim.run(until=1)
        assert (sim.queues["celery"].ready, sim.queues["celery"].unacked) == (4, 2)
        assert len([result.get() for result in results]) == 6


def test_disable_prefetch_leaves_in_the_queue_what_no_process_is_free_for() -> None:
    app = Celery("proj", broker="redis://", backend="redis://")
    app.conf.worker_disable_prefetch = True
    nap = nap_of(app)
    with Simulation(app, workers={"w1": {"concurrency": 1}}) as sim:
        for _ in range(4):
            nap.delay()
        sim.run(until=5)
        assert (sim.queues["celery"].ready, sim.queues["celery"].unacked) == (3, 0)
        assert app.control.inspect(timeout=1).reserved() == {"w1@sim": []}
        sim.run()
        assert [attempt.started for attempt in sim.trace.attempts] == [0, 10, 20, 30]
