"""Workers in the test's own process: what they share with the test, and what a fork of theirs does not."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import billiard
import celery.app.trace
import celery.worker.state
import kombu.serialization
import pytest
from celery import Celery, signals
from celery.contrib.testing import tasks as _ping  # noqa: F401 (start_worker asks for its task)
from celery.contrib.testing.worker import start_worker
from celery.result import allow_join_result

from tasksim.dropin import DropIn
from tasksim.errors import UsageError
from tasksim.patching import clock

#: A worker in the test's process has the test's warning filters, in life too, and libraries warn each other.
pytestmark = pytest.mark.filterwarnings("default")

BROKERS = ("amqp://", "redis://", "memory://")


@pytest.fixture
def world() -> Iterator[DropIn]:
    with DropIn() as world:
        yield world


def make_app(broker: str = "amqp://", **settings: Any) -> Celery:
    app = Celery("dropin", broker=broker, backend="redis://", set_as_current=False)
    app.conf.update(
        worker_hijack_root_logger=False, worker_log_color=False, broker_heartbeat=0,
        broker_connection_retry_on_startup=True, **settings,
    )  # fmt: skip

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="sleep", shared=False)
    def sleep(seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    return app


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
@pytest.mark.parametrize("broker", BROKERS)
def test_a_suite_of_celerys_own_worker_runs_and_nothing_waits(world: DropIn, broker: str, pool: str) -> None:
    app, began = make_app(broker), clock.real_monotonic()
    with start_worker(app, pool=pool):
        assert app.tasks["add"].delay(1, 2).get(timeout=10) == 3
        assert app.tasks["sleep"].delay(600).get(timeout=700)
        assert app.tasks["add"].apply_async((1, 2), countdown=60).get(timeout=100) == 3
    assert clock.real_monotonic() - began < 30
    assert world.now > 660


def test_the_worker_is_a_thread_of_the_test_and_its_pool_is_not(world: DropIn) -> None:
    app, before = make_app(), celery.worker.state.total_count["sleep"]
    with start_worker(app, pool="prefork") as worker:
        stats = app.control.inspect(timeout=1).stats()[worker.hostname]
        child = app.tasks["sleep"].delay(1).get(timeout=10)
        assert stats["pid"] == os.getpid()
        assert stats["pool"]["processes"] == [child]
        assert child != os.getpid()
        assert world.lives()[0] == "client/1"
        assert celery.worker.state.total_count["sleep"] == before + 1


def test_a_pool_process_does_not_see_handlers_and_serializers_of_after_its_fork(world: DropIn) -> None:
    app, heard = make_app(accept_content=["application/json", "application/x-late"]), []

    def listen(sender: Any = None, **_: Any) -> None:
        heard.append(os.getpid())

    with start_worker(app, pool="prefork"):
        signals.task_received.connect(listen)
        signals.task_prerun.connect(listen)
        kombu.serialization.register("late", repr, eval, "application/x-late", "utf-8")
        try:
            assert app.tasks["add"].delay(1, 2).get(timeout=10) == 3
            assert heard == [os.getpid()], "the worker received it here, a pool process ran it"
            result = app.tasks["add"].apply_async((1, 2), serializer="late")
            with pytest.raises(ValueError, match="too many values"):
                result.get(timeout=10)
        finally:
            signals.task_received.disconnect(listen)
            signals.task_prerun.disconnect(listen)
            kombu.serialization.unregister("late")


def test_what_a_pool_process_logs_reaches_the_test_once(world: DropIn, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    @app.task(name="log", shared=False)
    def log() -> None:
        logging.getLogger("some.task").error("from the pool")

    logging.getLogger("celery").setLevel(logging.INFO)
    with start_worker(app, pool="prefork", loglevel="INFO"):
        app.tasks["log"].delay().get(timeout=10)
        time.sleep(1)
    logging.getLogger("celery").setLevel(logging.NOTSET)
    assert [record.getMessage() for record in caplog.records].count("from the pool") == 1


def test_a_worker_in_a_thread_leaves_the_handlers_of_signals_alone(world: DropIn) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    app = make_app()
    worker = app.Worker(pool="solo", hostname="here@host", quiet=True, redirect_stdouts=False)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    with allow_join_result():
        assert app.tasks["add"].delay(1, 2).get(timeout=10) == 3
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    worker.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def heard(world: DropIn) -> Iterator[list[object]]:
    """What a handler of SIGUSR1 heard, and in which thread."""
    heard: list[object] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append((number, threading.current_thread())))
    yield heard
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_another_thread_sends_is_handled_in_the_main_thread(heard: list[object]) -> None:
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    began = time.monotonic()
    time.sleep(2)
    assert heard == [(signal.SIGUSR1, threading.main_thread())]
    assert 2 <= time.monotonic() - began < 2.1
    os.kill(os.getpid(), signal.SIGUSR1)
    assert len(heard) == 2, "one's own arrives at once"


def test_a_signal_that_a_pool_process_sends_to_its_parent_arrives(heard: list[object]) -> None:
    app = make_app()

    @app.task(name="call", shared=False)
    def call() -> None:
        os.kill(os.getppid(), signal.SIGUSR1)

    with start_worker(app, pool="prefork"):
        call.delay().get(timeout=10)
    assert heard == [(signal.SIGUSR1, threading.main_thread())]


def test_what_a_handler_raises_comes_out_where_the_main_thread_waits(world: DropIn) -> None:
    def leave(number: int, frame: object) -> None:
        raise SystemExit

    before = signal.signal(signal.SIGTERM, leave)
    try:
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(SystemExit):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert world.now < 2


def test_semaphores_and_queues_of_billiard_are_shared_by_pool_processes_and_do_not_block(world: DropIn) -> None:
    app = make_app()
    lock, numbers = billiard.Lock(), billiard.Queue()

    @app.task(name="hold", shared=False)
    def hold() -> None:
        with lock:
            numbers.put(os.getpid())
            time.sleep(10)

    with start_worker(app, pool="prefork", concurrency=2):
        began = time.monotonic()
        for result in [hold.delay(), hold.delay()]:
            result.get(timeout=60)
        assert time.monotonic() - began > 20
        assert len({numbers.get(timeout=5), numbers.get(timeout=5)}) == 2
        assert lock.acquire(timeout=1)
        assert not lock.acquire(timeout=1)
        lock.release()
        with pytest.raises(ValueError, match="too many times"):
            lock.release()
        recursive = billiard.RLock()
        with recursive, recursive:
            pass
        with pytest.raises(AssertionError, match="not owned"):
            recursive.release()


def test_a_real_program_has_real_time(world: DropIn) -> None:
    began = world.now
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(timeout=0.01)
    assert program.wait(timeout=30) == 0
    assert world.now - began < 0.001


def test_who_looks_whether_a_real_program_has_ended_lets_it_work(world: DropIn) -> None:
    """A test that stops a server of its own, and gives it ten seconds."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    for _ in range(100):
        if program.poll() is not None:
            break
        time.sleep(0.1)
    assert program.returncode == 0


def test_results_of_the_rpc_backend_come_to_the_thread_that_called(world: DropIn) -> None:
    app = make_app(result_backend="rpc")
    with start_worker(app):
        with ThreadPoolExecutor(4) as executor:
            results = list(executor.map(app.tasks["add"].delay, range(8), range(8)))
        assert [result.get(timeout=10) for result in results] == [2 * number for number in range(8)]
    assert len({event.routing_key for event in world.trace.where("Published") if not event.task_id}) > 1


def test_what_takes_a_moment_in_life_takes_time(world: DropIn) -> None:
    app = make_app()
    with start_worker(app):
        began = time.perf_counter()
        app.tasks["add"].apply_async((1, 2), countdown=3).get(timeout=10)
        assert 3 < time.perf_counter() - began < 3.1


def test_what_comes_after_something_is_later_also_where_nothing_goes_over_a_wire(world: DropIn) -> None:
    app, started = make_app("memory://"), []

    @app.task(name="note", shared=False)
    def note() -> None:
        started.append(time.time_ns())
        started.append(time.time_ns())

    with start_worker(app):
        called = time.time_ns()
        note.delay().get(timeout=10)
    assert called < started[0] < started[1] < started[0] + 100_000


def test_garbage_is_collected_and_its_finalizers_need_not_wait(world: DropIn) -> None:
    app = make_app()
    with start_worker(app):
        results = [app.tasks["add"].delay(number, 1) for number in range(100)]
        assert results[0].get(timeout=10) == 1
        for result in results:
            result.itself = result
        gone = weakref.ref(results[0])
        del results, result
        gc.collect()
        assert gone() is None
        assert app.tasks["add"].delay(1, 2).get(timeout=10) == 3


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_two_worlds_of_one_seed_have_one_digest(pool: str) -> None:
    digests = set()
    for _ in range(2):
        with DropIn(seed=3) as world:
            app = make_app("redis://")
            with start_worker(app, pool=pool, hostname="here@host"):
                for number in range(5):
                    assert app.tasks["add"].delay(number, 1).get(timeout=10) == number + 1
            assert len(world.trace) > 40
            digests.add(world.trace.digest())
    assert len(digests) == 1


def test_threads_that_still_live_at_the_end_are_not_among_pythons_threads() -> None:
    before = threading.enumerate()
    with DropIn() as world:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        assert len(threading.enumerate()) == len(before) + 1
        assert world.lives() == ["thread 1000"]
    assert threading.enumerate() == before


def test_a_world_without_an_app_says_so_and_ends_once(world: DropIn) -> None:
    with pytest.raises(UsageError, match="needs an app"):
        world.start_worker("w1")
    world.start_worker("w2", app=make_app, wait=True)
    assert make_app().tasks["add"].delay(1, 2).get(timeout=10) == 3
    assert "celery" in world.queues
    world.end()
    with pytest.raises(UsageError, match="ended already"):
        world.end()


def test_apps_of_the_test_are_whole_afterwards() -> None:
    app = Celery("whole", broker="redis://", backend="redis://", set_as_current=False)
    kept = set(vars(app))
    with DropIn():
        app.AsyncResult("a")
    assert kept <= set(vars(app))
    assert app.AsyncResult("a").backend is not None


def test_a_function_is_an_argument_of_a_task_by_its_name(world: DropIn) -> None:
    """As an executor that sends `(time.sleep, 5)` to a worker does."""
    app = make_app(accept_content=["pickle", "json"], result_serializer="pickle")

    @app.task(name="call", shared=False, serializer="pickle")
    def call(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    with start_worker(app, pool="solo", perform_ping_check=False), allow_join_result():
        began = time.monotonic()
        assert call.delay(time.sleep, 5).get(timeout=10) is None
        assert time.monotonic() - began >= 5
        assert call.delay(os.getpid).get(timeout=10) == os.getpid()


def test_what_stands_in_for_a_function_has_its_signature(world: DropIn) -> None:
    """Tracing tools wrap Celery's functions by the names of their arguments."""
    given = inspect.signature(celery.app.trace.build_tracer)
    assert list(given.parameters)[:3] == ["name", "task", "loader"]
    assert celery.app.trace.build_tracer.__qualname__ == "build_tracer"


def test_who_measures_the_collection_of_garbage_changes_no_time() -> None:
    """As hypothesis does: each look at the clock takes a microsecond here, and garbage is collected at any moment."""
    looks: list[float] = []

    def measure(*_: object) -> None:
        looks.append(time.perf_counter())

    gc.callbacks.append(measure)
    try:
        with DropIn():
            before = time.perf_counter()
            gc.collect()
            assert time.perf_counter() - before == pytest.approx(1e-6, abs=5e-7)
    finally:
        gc.callbacks.remove(measure)
    assert len(looks) >= 2


@pytest.mark.parametrize("by_somebody", [True, False])
def test_what_somebody_froze_stays_frozen_and_nothing_else(by_somebody: bool) -> None:
    gc.collect()
    gc.unfreeze()
    if by_somebody:
        gc.freeze()
    with DropIn():
        assert gc.get_freeze_count() > 0
    assert (gc.get_freeze_count() > 0) is by_somebody
    gc.freeze()
