"""Threads that tasks and tests start are threads of the simulated process, in virtual time."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery

from tasksim import BlockedForReal, Limits, Simulation, UsageError

module_lock = threading.Lock()
module_rlock = threading.RLock()
module_semaphore = threading.Semaphore(1)
module_bounded = threading.BoundedSemaphore(1)
module_barrier = threading.Barrier(2)
module_queue: queue.Queue[int] = queue.Queue()
module_queue.put(7)
orders: queue.Queue[str] = queue.Queue()
module_executor = ThreadPoolExecutor(2)
module_executor_again = module_executor


def run_task(function: Callable[[], Any], times: int = 1, seed: int = 0, **options: Any) -> tuple[list[Any], float]:
    """What a function returns as a task, so many times at once, and how long that took."""
    app = Celery("threads", broker="amqp://", backend="redis://", set_as_current=False)
    task = app.task(name="work", shared=False)(function)
    with Simulation(app, workers={"w1": {"concurrency": max(2, times), **options}}, seed=seed) as sim:
        results = [task.delay() for _ in range(times)]
        return [result.get() for result in results], sim.now


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_of_threads_sleeps_in_parallel(seed: int) -> None:
    def work() -> list[int]:
        with ThreadPoolExecutor(3) as executor:
            return list(executor.map(lambda number: (time.sleep(number), number)[1], [1, 2, 3]))

    assert run_task(work, seed=seed) == ([[1, 2, 3]], 3.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_queue_between_threads_blocks_both_sides(seed: int) -> None:
    def work() -> list[int]:
        channel: queue.Queue[Any] = queue.Queue(2)

        def produce() -> None:
            for number in range(5):
                channel.put(number)
            channel.put(None)

        threading.Thread(target=produce).start()
        found = []
        while (number := channel.get(timeout=30)) is not None:
            time.sleep(1)
            found.append(number)
        return found

    assert run_task(work, seed=seed) == ([[0, 1, 2, 3, 4]], 5.0)


def test_conditions_events_barriers_semaphores_and_timers_wait_in_virtual_time() -> None:
    def work() -> list[Any]:
        condition, event, barrier = threading.Condition(), threading.Event(), threading.Barrier(2)
        semaphore, fired = threading.Semaphore(0), []

        def other() -> None:
            barrier.wait()
            with condition:
                condition.notify_all()
            time.sleep(3)
            event.set()
            semaphore.release()

        threading.Thread(target=other).start()
        timer = threading.Timer(5, lambda: fired.append("timer"))
        timer.start()
        with condition:
            barrier.wait()
            notified = condition.wait(timeout=10)
        return [notified, event.wait(10), semaphore.acquire(timeout=10), event.wait(0), timer.join(), fired]

    assert run_task(work) == ([[True, True, True, True, None, ["timer"]]], 5.0)


def test_a_wait_that_times_out_takes_its_time() -> None:
    def work() -> list[bool]:
        lock = threading.Lock()
        lock.acquire()
        return [threading.Event().wait(3), lock.acquire(timeout=4), lock.acquire(blocking=False)]

    assert run_task(work) == ([[False, False, False]], 7.0)


def test_a_join_waits_for_the_end_of_the_thread() -> None:
    def work() -> list[Any]:
        thread = threading.Thread(target=time.sleep, args=(60,), name="sleeper")
        thread.start()
        alive, names = thread.is_alive(), sorted(one.name for one in threading.enumerate())
        thread.join(10)
        still = thread.is_alive()
        thread.join()
        return [alive, names, still, thread.is_alive(), threading.active_count()]

    assert run_task(work) == ([[True, ["MainThread", "sleeper"], True, False, 1]], 60.0)


def test_asyncio_reaches_threads() -> None:
    def work() -> int:
        async def main() -> int:
            return await asyncio.to_thread(lambda: (time.sleep(2), 5)[1])

        return asyncio.run(main())

    (value,), took = run_task(work)
    assert (value, took) == (5, 2.0)


def test_a_lock_of_a_module_is_each_process_own() -> None:
    def work() -> bool:
        with module_lock, module_rlock, module_rlock:
            time.sleep(10)
        return threading.current_thread() is threading.main_thread()

    assert run_task(work, times=2) == ([True, True], 10.0)


def test_a_lock_of_a_module_is_shared_by_the_threads_of_a_process() -> None:
    def work() -> bool:
        with module_lock:
            time.sleep(10)
        return True

    assert run_task(work, times=2, pool="threads") == ([True, True], 20.0)


def test_semaphores_of_a_module_are_each_process_own() -> None:
    def work() -> bool:
        with module_semaphore, module_bounded:
            time.sleep(10)
        return True

    assert run_task(work, times=2) == ([True, True], 10.0)
    assert run_task(work, times=2, pool="threads") == ([True, True], 20.0)


def test_a_barrier_of_a_module_is_not_met_by_two_processes() -> None:
    def work() -> str:
        try:
            module_barrier.wait(5)
        except threading.BrokenBarrierError:
            return "broken"
        return "met"

    assert run_task(work, times=2) == (["broken", "broken"], 5.0)
    assert run_task(work, times=2, pool="threads") == (["met", "met"], 0.0)


def test_a_queue_of_a_module_is_copied_with_what_is_in_it() -> None:
    def work() -> int:
        time.sleep(1)
        return module_queue.get(timeout=5)

    assert run_task(work, times=2) == ([7, 7], 1.0)
    assert module_queue.qsize() == 1


def test_an_executor_of_a_module_has_threads_in_each_process() -> None:
    def work() -> Any:
        assert module_executor is module_executor_again
        return list(module_executor.map(lambda number: (time.sleep(number), number)[1], [3, 5]))

    assert run_task(work, times=2) == ([[3, 5], [3, 5]], 5.0)
    app = Celery("threads", broker="amqp://", backend="redis://", set_as_current=False)
    app.task(name="work", shared=False)(work)
    with Simulation(app) as sim:
        assert module_executor.submit(lambda: (time.sleep(8), sim.now)[1]).result() == 8.0
    real = module_executor.submit(threading.get_ident).result(timeout=10)
    assert real in {thread.ident for thread in module_executor._threads}


def test_an_executor_that_was_made_inside_has_real_threads_afterwards() -> None:
    made: list[ThreadPoolExecutor] = []

    def work() -> int:
        made.append(ThreadPoolExecutor(2))
        return made[0].submit(lambda: (time.sleep(5), 7)[1]).result()

    assert run_task(work) == ([7], 5.0)
    assert made[0].submit(int, "8").result(timeout=10) == 8
    made[0].shutdown()


def test_a_thread_from_before_hears_the_test_and_is_refused_what_is_inside() -> None:
    app = Celery("threads", broker="amqp://", backend="redis://", set_as_current=False)
    told: list[str] = []
    said = threading.Event()

    def flush() -> None:
        orders.get()
        try:
            app.send_task("work")
        except UsageError as error:
            told.append(str(error))
        said.set()

    @app.task(name="work", shared=False)
    def work() -> None:
        """Nothing to do: that it is of this module makes the module one of the simulation's."""

    thread = threading.Thread(target=flush, daemon=True)
    thread.start()
    while not orders.not_empty._waiters:  # type: ignore[attr-defined]
        time.sleep(0.001)
    with Simulation(app) as sim:
        sim.run(until=1)
        orders.put("go")
        with sim.apart():
            thread.join(20)
    assert said.is_set()
    assert "a thread that was started before the simulation" in told[0]


def test_a_thread_of_the_tests_own_that_blocks_for_real_ends_the_wait_and_the_remedy_is_named() -> None:
    app = Celery("threads", broker="amqp://", backend="redis://", set_as_current=False)
    hidden = [ThreadPoolExecutor(1)]  # in no module's globals
    with Simulation(app, limits=Limits(block=0.5)), pytest.raises(BlockedForReal, match="made before the simulation"):
        hidden[0].submit(int).result()


def test_the_test_itself_may_start_threads() -> None:
    app = Celery("threads", broker="amqp://", backend="cache+memory://", set_as_current=False)
    with Simulation(app) as sim:
        seen: list[float] = []
        thread = threading.Thread(target=lambda: (time.sleep(100), seen.append(sim.now)))
        thread.start()
        thread.join()
        assert seen == [100.0]
    assert not thread.is_alive()


def test_afterwards_threads_are_real_ones() -> None:
    def work() -> None:
        threading.Thread(target=time.sleep, args=(1,)).start()

    run_task(work)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(threading.get_ident()))
    thread.start()
    thread.join()
    assert seen[0] not in (0, threading.get_ident())
    assert module_lock.acquire(blocking=False)
    module_lock.release()


@pytest.mark.parametrize("broker", ["amqp://", "redis://"])
@pytest.mark.parametrize(("pool", "took"), [("threads", 10.0), ("solo", 30.0), ("prefork", 10.0)])
def test_each_pool_runs_as_many_at_once_as_in_life(broker: str, pool: str, took: float) -> None:
    app = Celery("pools", broker=broker, backend="redis://", set_as_current=False)

    @app.task(name="nap", shared=False)
    def nap() -> None:
        time.sleep(10)

    with Simulation(app, workers={"w1": {"pool": pool, "concurrency": 3}}) as sim:
        for result in [nap.delay() for _ in range(3)]:
            result.get()
        assert sim.now == took
        assert [attempt.state for attempt in sim.trace.attempts] == ["SUCCESS"] * 3


@pytest.mark.parametrize("broker", ["amqp://", "redis://"])
@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_pools_without_an_event_loop_keep_etas_and_stop_warm(broker: str, pool: str) -> None:
    app = Celery("pools", broker=broker, backend="redis://", set_as_current=False)

    @app.task(name="nap", shared=False)
    def nap() -> None:
        time.sleep(10)

    with Simulation(app, workers={"w1": {"pool": pool, "concurrency": 2}}) as sim:
        nap.apply_async(countdown=30)
        sim.run()
        assert sim.trace.of("nap").starts == [30.0]
        last = nap.delay()
        sim.advance(1)
        sim.stop("w1")
        sim.run()
        assert (sim.workers["w1"].exitcode, last.state) == (0, "SUCCESS")
