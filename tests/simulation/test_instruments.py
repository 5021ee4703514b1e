"""Tools that wrap tasks where a tracer is built, as sentry-sdk does: once for each process, for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import celery.app.trace as trace
import pytest
from celery import Celery, Task, signals
from celery.app.trace import task_has_custom

from tasksim import Simulation
from tests.scene import BROKERS, make_app

both = pytest.mark.parametrize("broker", BROKERS)


class Counting(Task):
    """A base of an application's tasks that does something around each call."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


depth: list[int] = [0]
seen: list[int] = []


def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any, **kwargs: Any) -> Any:
        depth[0] += 1
        try:
            return function(*args, **kwargs)
        finally:
            depth[0] -= 1

    return inner


def instrument() -> None:
    real = trace.build_tracer

    def build_tracer(name: str, task: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(task, "_is_wrapped", False):
            if task_has_custom(task, "__call__"):
                type(task).__call__ = wrap(type(task).__call__)
            else:
                task.run = wrap(task.run)
            task._is_wrapped = True
        return real(name, task, *args, **kwargs)

    trace.build_tracer = build_tracer


@pytest.fixture
def _instrumented() -> Iterator[None]:
    real = trace.build_tracer
    instrument()
    yield
    trace.build_tracer = real


@pytest.fixture
def _quiet() -> None:
    depth[0] = 0
    seen.clear()


def look() -> int:
    """A task's body: how often is it wrapped?"""
    seen.append(depth[0])
    return depth[0]


def make(app: Celery, **options: Any) -> Any:
    return app.task(shared=False, name="look", **options)(look)


CASES = pytest.mark.parametrize(
    "options",
    [{}, {"base": Counting}, {"autoretry_for": (KeyError,)}, {"base": Counting, "autoretry_for": (KeyError,)}],
    ids=["plain", "custom call", "autoretry", "both"],
)


@both
@CASES
@pytest.mark.usefixtures("_instrumented", "_quiet")
def test_an_instrument_wraps_a_task_once_in_each_simulation(broker: str, options: dict[str, Any]) -> None:
    app = make_app(broker)
    task = make(app, **options)
    before = dict(vars(type(task)))
    for _ in range(3):
        with Simulation(app, workers=3) as sim:
            assert [task.delay().get() for _ in range(6)] == [1] * 6
            sim.run()
        assert vars(type(task)) == before
        assert "_is_wrapped" not in vars(task)
        assert task() == 0


@CASES
@pytest.mark.usefixtures("_quiet")
def test_one_that_is_set_up_in_the_worker_ends_with_the_simulation(options: dict[str, Any]) -> None:
    """As an app whose `worker_init` handler calls `sentry_sdk.init`."""
    app = make_app()
    task = make(app, **options)
    real, before = trace.build_tracer, dict(vars(type(task)))

    def set_up(**_: Any) -> None:
        instrument()

    signals.worker_init.connect(set_up, weak=False)
    try:
        for _ in range(2):
            with Simulation(app, concurrency=1):
                assert task.delay().get() == 1
            assert trace.build_tracer is real
            assert vars(type(task)) == before
    finally:
        signals.worker_init.disconnect(set_up)


@pytest.mark.usefixtures("_instrumented", "_quiet")
def test_what_the_test_sets_on_a_tasks_class_is_seen_by_all() -> None:
    app = make_app()
    task = make(app, base=Counting)
    with Simulation(app, workers={"w1": {}, "w2": {"queues": "other"}}):
        assert task.delay().get() == 1
        type(task).answer = 42
        assert [task.apply_async(queue=queue).get() for queue in ("celery", "other")] == [1, 1]
        assert type(task).answer == task.answer == 42
    assert type(task).answer == 42
