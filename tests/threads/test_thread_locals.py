"""What belongs to a thread: thread-locals, made before the simulation or inside, and context variables."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery, signals

from tasksim import Simulation
from tasksim.patching import thread_locals
from tasksim.patching.thread_locals import ThreadLocals

before = threading.local()
before.imported = "at import"
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


class WithDefault(threading.local):
    def __init__(self) -> None:
        self.values: list[Any] = []


classed = WithDefault()


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    vars(before).clear()
    before.imported = "at import"
    classed.values.clear()


def run_tasks(function: Callable[..., Any], *calls: tuple[Any, ...], seed: int = 0, **options: Any) -> list[Any]:
    """What a function returns as a task, for each call; all at once on one worker."""
    app = Celery("locals", broker="amqp://", backend="cache+memory://", set_as_current=False)
    task = app.task(name="work", shared=False)(function)
    with Simulation(app, workers={"w1": {"concurrency": len(calls), **options}}, seed=seed):
        return [result.get() for result in [task.delay(*call) for call in calls]]


def set_and_wait(value: int) -> Any:
    seen = getattr(before, "value", None)
    before.value = value
    classed.values.append(value)
    time.sleep(value)
    return [seen, before.value, classed.values]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("seed", range(3))
def test_each_process_and_each_thread_of_a_pool_has_its_own(pool: str, seed: int) -> None:
    found = run_tasks(set_and_wait, (3,), (2,), (1,), seed=seed, pool=pool)
    assert found == [[None, 3, [3]], [None, 2, [2]], [None, 1, [1]]]
    assert not hasattr(before, "value")
    assert classed.values == []


def test_a_process_keeps_its_own_from_task_to_task() -> None:
    app = Celery("locals", broker="amqp://", backend="cache+memory://", set_as_current=False)
    task = app.task(name="work", shared=False)(set_and_wait)
    with Simulation(app, concurrency=1):
        assert [task.delay(value).get()[0] for value in (1, 2, 3)] == [None, 1, 2]


def test_threads_that_a_task_starts_have_their_own() -> None:
    def work() -> Any:
        before.value = "main"

        def body(value: int) -> Any:
            seen = [hasattr(before, "value"), hasattr(before, "imported")]
            before.value = value
            time.sleep(1)
            return [*seen, before.value]

        with ThreadPoolExecutor(3) as executor:
            found = list(executor.map(body, range(3)))
        return [*found, before.value]

    (found,) = run_tasks(work, ())
    assert found == [[False, False, 0], [False, False, 1], [False, False, 2], "main"]


def test_a_worker_begins_with_what_was_there_at_the_start_and_not_with_what_the_test_sets_later() -> None:
    before.fixture = "before"
    app = Celery("locals", broker="amqp://", backend="cache+memory://", set_as_current=False)

    @app.task(name="look", shared=False)
    def look() -> Any:
        return [before.imported, before.fixture, getattr(before, "later", None)]

    with Simulation(app) as sim:
        before.later = "inside"
        assert look.delay().get() == ["at import", "before", None]
        sim.start_worker("w2")
        assert look.delay().get() == ["at import", "before", None]
        assert before.later == "inside"
    assert before.later == "inside"


def test_a_pool_process_begins_with_what_its_worker_had() -> None:
    def worker_began(**_: Any) -> None:
        before.value = os.getpid()

    def work() -> Any:
        return before.value

    signals.worker_init.connect(worker_began)
    try:
        found = run_tasks(work, (), ())
    finally:
        signals.worker_init.disconnect(worker_began)
    assert found == [5_000_000, 5_000_000]


def test_one_that_is_made_inside_is_each_threads_own_too() -> None:
    def work() -> Any:
        made = threading.local()
        made.value = "main"

        def body() -> bool:
            time.sleep(1)
            return hasattr(made, "value")

        with ThreadPoolExecutor(1) as executor:
            return [executor.submit(body).result(), made.value]

    assert run_tasks(work, ()) == [[False, "main"]]


def test_what_a_thread_holds_goes_when_it_ends() -> None:
    class Held:
        """Something that can be referred to weakly."""

    def work() -> Any:
        references = []

        def body() -> None:
            before.value = held = Held()
            references.append(weakref.ref(held))
            del held
            time.sleep(1)

        thread = threading.Thread(target=body)
        thread.start()
        time.sleep(0.5)
        alive = references[0]() is not None
        thread.join()
        del thread
        time.sleep(1)
        return [alive, references[0]() is None]

    assert run_tasks(work, ()) == [[True, True]]


def test_locals_that_come_and_go_while_other_threads_wait_do_no_harm() -> None:
    def work(number: int) -> int:
        total = 0
        for step in range(20):
            made = threading.local()
            made.value = [number, step]
            time.sleep(0.001 * (1 + number % 3))
            total += made.value[1] + asyncio.run(asyncio.sleep(0.001, 1))
            del made
            gc.collect(0)
        return total

    assert run_tasks(work, *((number,) for number in range(6)), pool="threads") == [210] * 6
    gc.collect()
    assert asyncio.run(asyncio.sleep(0, "still")) == "still"


def test_the_tests_own_threads_have_their_own() -> None:
    app = Celery("locals", broker="amqp://", backend="cache+memory://", set_as_current=False)
    before.value = "test"
    seen: list[Any] = []

    def body() -> None:
        seen.append(hasattr(before, "value"))
        before.value = "thread"
        time.sleep(1)
        seen.append(before.value)

    with Simulation(app) as sim:
        thread = threading.Thread(target=body)
        thread.start()
        sim.at(0.5, lambda: seen.append(before.value))
        thread.join()
        assert before.value == "test"
    assert seen == [False, "test", "thread"]
    assert before.value == "test"


def test_an_error_of_the_world_comes_out_with_the_tests_own_values() -> None:
    app = Celery("locals", broker="amqp://", backend="cache+memory://", set_as_current=False)
    before.value = "test"

    @app.task(name="stop", shared=False)
    def stop() -> None:
        before.value = "task"
        time.sleep(1)
        raise KeyboardInterrupt

    with Simulation(app) as sim:
        stop.delay()
        sim.at(0.5, lambda: before.value == "test" or pytest.fail("at"))
        sim.kill(task=stop, when=sim.started(stop))
        sim.run()
        assert before.value == "test"
    assert before.value == "test"


def test_context_variables_are_each_threads_own() -> None:
    def work(value: str) -> Any:
        first = variable.get()
        variable.set(value)
        time.sleep(1)

        def body() -> str:
            return variable.get()

        with ThreadPoolExecutor(1) as executor:
            plain = executor.submit(body).result()
            copied = executor.submit(contextvars.copy_context().run, body).result()
        return [first, variable.get(), plain, copied, asyncio.run(asyncio.to_thread(body))]

    for pool in ("prefork", "threads"):
        found = run_tasks(work, ("a",), ("b",), pool=pool)
        assert found == [["nothing", "a", "nothing", "a", "a"], ["nothing", "b", "nothing", "b", "b"]], pool


# --- the mechanism


def test_they_can_be_exchanged_on_this_python() -> None:
    assert ThreadLocals().outer is not None


@pytest.mark.parametrize("what", ["_outer", "_find_words"])
def test_where_they_cannot_be_exchanged_simulated_threads_share_them(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_locals, what, lambda _: None)
    assert ThreadLocals().outer is None
    assert run_tasks(set_and_wait, (2,), (1,), pool="threads", seed=0)[0][1] == 1


def test_other_real_threads_are_not_touched() -> None:
    locals_, ready, go_on, seen = ThreadLocals(), threading.Event(), threading.Event(), []

    def body() -> None:
        before.value = "other"
        ready.set()
        go_on.wait(10)
        seen.append(before.value)

    thread = threading.Thread(target=body)
    thread.start()
    ready.wait(10)
    locals_.stand(locals_.new())
    before.value = "swapped"
    go_on.set()
    thread.join(10)
    locals_.close()
    assert seen == ["other"]
    assert not hasattr(before, "value")
