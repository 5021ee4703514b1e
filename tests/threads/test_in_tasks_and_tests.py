"""Each tool of `threading`, `queue` and `concurrent.futures`: the same in a task and in the test itself."""

from __future__ import annotations

import concurrent.futures
import contextvars
import multiprocessing
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import fork as fork_by_name
from typing import Any

import pytest
from celery import Celery

from tasksim import Simulation
from tasksim.errors import NothingLeftToDo, TasksimError

Run = Callable[[Callable[[], Any]], tuple[Any, float]]

#: Made before any simulation, as a user's module does.
module_condition = threading.Condition()
module_event = threading.Event()
module_local = threading.local()
variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


def _app() -> Celery:
    return Celery("tools", broker="amqp://", backend="redis://", set_as_current=False)


def _as_a_task(function: Callable[[], Any]) -> tuple[Any, float]:
    app = _app()
    task = app.task(name="work", shared=False)(function)
    with Simulation(app) as sim:
        return task.delay().get(), sim.now


def _in_the_test(function: Callable[[], Any]) -> tuple[Any, float]:
    with Simulation(_app()) as sim:
        return function(), sim.now


@pytest.fixture(params=[_as_a_task, _in_the_test], ids=["task", "test"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


def test_futures_are_waited_for_together_and_one_after_the_other(run: Run) -> None:
    def work() -> Any:
        with ThreadPoolExecutor(4) as executor:
            futures = [executor.submit(time.sleep, seconds) for seconds in (3, 1, 2)]
            done, waiting = concurrent.futures.wait(futures, timeout=1.5)
            order = [futures.index(one) for one in concurrent.futures.as_completed(futures)]
            return [len(done), len(waiting), sorted(order[:1]), order[-1]]

    assert run(work) == ([1, 2, [1], 0], 3.0)


def test_a_future_fails_times_out_and_is_cancelled(run: Run) -> None:
    def work() -> Any:
        said = []
        with ThreadPoolExecutor(1) as executor:
            slow, late, broken = (
                executor.submit(time.sleep, 5),
                executor.submit(time.sleep, 5),
                executor.submit(int, "x"),
            )
            try:
                slow.result(timeout=2)
            except TimeoutError:
                said.append("timeout")
            said += [late.cancel(), slow.cancel(), type(broken.exception()).__name__]
        return said

    assert run(work) == (["timeout", True, False, "ValueError"], 5.0)


@pytest.mark.parametrize("kind", [queue.Queue, queue.LifoQueue, queue.PriorityQueue])
def test_a_queue_is_filled_emptied_and_joined(run: Run, kind: Any) -> None:
    def work() -> Any:
        channel, found = kind(maxsize=2), []

        def consume() -> None:
            while True:
                found.append(channel.get())
                time.sleep(1)
                channel.task_done()

        threading.Thread(target=consume, daemon=True).start()
        for number in range(4):
            channel.put(number)
        channel.join()
        try:
            channel.get(timeout=2)
        except queue.Empty:
            return sorted(found)

    value, took = run(work)
    assert value == [0, 1, 2, 3] or value is None  # the consumer and the last get race for nothing
    assert took == 6.0


def test_a_simple_queue(run: Run) -> None:
    def work() -> Any:
        channel: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Timer(4, channel.put, (7,)).start()
        return channel.get(timeout=10)

    assert run(work) == (7, 4.0)


def test_a_condition_is_waited_for_until_it_holds(run: Run) -> None:
    def work() -> Any:
        stock: list[int] = []

        def deliver() -> None:
            for number in range(3):
                time.sleep(1)
                with module_condition:
                    stock.append(number)
                    module_condition.notify()

        threading.Thread(target=deliver).start()
        with module_condition:
            enough = module_condition.wait_for(lambda: len(stock) == 3, timeout=10)
            return [enough, module_condition.wait(timeout=2)]

    assert run(work) == ([True, False], 5.0)


def test_an_event_of_a_module_is_set_and_cleared(run: Run) -> None:
    def work() -> Any:
        module_event.clear()
        timer = threading.Timer(2, module_event.set)
        timer.start()
        return [module_event.wait(1), module_event.wait(5), module_event.is_set()]

    assert run(work) == ([False, True, True], 2.0)


def test_a_timer_that_is_cancelled_never_fires(run: Run) -> None:
    def work() -> Any:
        fired: list[str] = []
        timers = [threading.Timer(5, fired.append, (name,)) for name in "ab"]
        for timer in timers:
            timer.start()
        time.sleep(1)
        timers[0].cancel()
        for timer in timers:
            timer.join()
        return fired

    assert run(work) == (["b"], 5.0)


def test_a_reentrant_lock_excludes_other_threads_and_not_its_own(run: Run) -> None:
    def work() -> Any:
        lock, said = threading.RLock(), []

        def other() -> None:
            said.append(lock.acquire(timeout=1))
            with lock:
                said.append("in")

        with lock, lock:
            thread = threading.Thread(target=other)
            thread.start()
            time.sleep(3)
            said.append("out")
        thread.join()
        return said

    assert run(work) == ([False, "out", "in"], 3.0)


def test_a_semaphore_lets_so_many_in(run: Run) -> None:
    def work() -> Any:
        gate = threading.BoundedSemaphore(2)

        def body(_: int) -> None:
            with gate:
                time.sleep(1)

        with ThreadPoolExecutor(6) as executor:
            list(executor.map(body, range(6)))
        with pytest.raises(ValueError, match="released too many times"):
            gate.release()

    assert run(work) == (None, 3.0)


def test_threads_are_told_apart(run: Run) -> None:
    def work() -> Any:
        seen = []

        def body() -> None:
            time.sleep(1)
            seen.append((threading.get_ident(), threading.current_thread().name, threading.current_thread().daemon))

        threads = [threading.Thread(target=body, name=name, daemon=name == "b") for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        idents = {ident for ident, _, _ in seen} | {threading.get_ident()}
        return [len(idents), sorted((name, daemon) for _, name, daemon in seen)]

    value, took = run(work)
    assert (value[0], [tuple(one) for one in value[1]], took) == (3, [("a", False), ("b", True)], 1.0)


def test_a_threads_error_goes_to_the_hook_and_not_to_who_waits(run: Run) -> None:
    said: list[str] = []

    def work() -> Any:
        before, threading.excepthook = threading.excepthook, lambda args: said.append(str(args.exc_value))
        try:
            thread = threading.Thread(target=int, args=("x",))
            thread.start()
            thread.join()
        finally:
            threading.excepthook = before
        return thread.is_alive()

    assert run(work) == (False, 0.0)
    assert said == ["invalid literal for int() with base 10: 'x'"]


def test_thread_locals_and_context_variables_in_one_pool(run: Run) -> None:
    def work() -> Any:
        module_local.value = 1
        variable.set(1)

        def body(number: int) -> Any:
            seen = [getattr(module_local, "value", None), variable.get()]
            module_local.value = number
            variable.set(number)
            time.sleep(1)
            return [*seen, module_local.value, variable.get()]

        with ThreadPoolExecutor(2) as executor:
            found = list(executor.map(body, (5, 6)))
        return [*found, [module_local.value, variable.get()]]

    assert run(work) == ([[None, 0, 5, 5], [None, 0, 6, 6], [1, 1]], 1.0)


# --- what cannot be


def test_two_threads_that_wait_for_each_other_are_named() -> None:
    with Simulation(_app()) as sim:
        one, other = threading.Lock(), threading.Lock()

        def body() -> None:
            with other:
                time.sleep(1)
                one.acquire()

        threading.Thread(target=body).start()
        one.acquire()
        sim.advance(2)
        with pytest.raises(NothingLeftToDo, match=r"the test has waited .* for a lock"):
            other.acquire()


@pytest.mark.parametrize(
    "tool",
    [
        lambda: os.fork(),
        lambda: fork_by_name(),
        lambda: multiprocessing.get_context("fork").Process(target=print).start(),
    ],
)
def test_a_task_that_forks_is_told_what_to_do_instead(tool: Callable[[], Any]) -> None:
    app = _app()

    @app.task(name="fork", shared=False)
    def fork() -> None:
        tool()

    # A pool process must not fork at all, in life too; that of a solo pool may.
    with (
        Simulation(app, workers={"w1": {"pool": "solo"}}),
        pytest.raises(TasksimError, match=r"do the work in another"),
    ):
        fork.delay().get()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: time.sleep(-1),
        lambda: threading.Lock().acquire(timeout=-2), lambda: threading.Lock().acquire(False, 1),
        lambda: threading.RLock().acquire(timeout=-2), lambda: select.select([], [], [], -1),
    ],
)  # fmt: skip
def test_what_python_refuses_is_refused_in_a_task_too(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each in the interpreter's own words
        wrong()
    app = _app()

    @app.task(name="refused", shared=False)
    def refused() -> None:
        wrong()

    with Simulation(app) as sim:
        result = refused.delay()
        sim.run()
        assert type(result.result) is ValueError
