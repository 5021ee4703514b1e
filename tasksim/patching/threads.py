"""Threads that users' tasks and tests start: threads of the simulated process, in virtual time.

`threading.Thread`, `Condition`, `Event`, `Semaphore`, `Barrier`, `Timer`, `queue.Queue` and `ThreadPoolExecutor` are
Python on top of three things: starting a thread, locks, and the number of the running thread. Those three are replaced.
"""

from __future__ import annotations

import _thread
import concurrent.futures.thread
import contextvars
import ctypes
import itertools
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, ModuleType
from typing import Any

from tasksim.kernel.cells import Cells
from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import Thread, running_thread
from tasksim.patching.guard import Gate
from tasksim.patching.locks import REAL_LOCK, REAL_RLOCK, ParkingLock, ParkingRLock
from tasksim.patching.table import Patches, Row
from tasksim.patching.thread_locals import ThreadLocals

#: Numbers of simulated threads begin here; no real thread's is as small on the systems that are served.
FIRST_NUMBER = 1_000

_real_number = _thread.get_ident


class Threads:
    """Starts threads and makes locks for one simulation.

    Args:
        never_wait_inside: names of modules whose constructors make locks that are never held while a thread parks.
            Nobody ever waits for such a lock, so it may be a real one; a task's way through Celery's pools, caches and
            event loops meets a dozen.

    Attributes:
        on_start: called when a thread is started.
        on_end: called in each thread of the test's own process as it ends.
    """

    def __init__(self, kernel: Kernel, gate: Gate, never_wait_inside: Iterable[str] = ()) -> None:
        self.kernel, self.gate = kernel, gate
        self.locals = ThreadLocals()
        kernel.stand = self.locals.stand
        kernel.store = kernel.driver.store = self.locals.outer
        self._modules = frozenset(never_wait_inside)
        self._numbers = itertools.count(FIRST_NUMBER)
        self.on_start: Callable[[], object] = lambda: None
        self.on_end: Callable[[], object] = lambda: None

    def number(self) -> int:
        """threading.get_ident: the main thread of each process has the interpreter's, as after a fork."""
        thread = running_thread()
        if thread.__class__ is Thread and thread.number:
            return int(thread.number)
        return _real_number()

    def start(
        self, function: Callable[..., object], arguments: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> int:
        """_thread.start_new_thread."""
        if not self.gate.inside():
            return _thread.start_new_thread(function, arguments, dict(options or {}))
        return self.spawn(lambda: function(*arguments, **(options or {})))

    def spawn(self, body: Callable[[], object]) -> int:
        """A thread of the running process; its number."""
        self.kernel.start()

        def run() -> None:
            try:
                body()
            except SystemExit:
                pass
            finally:
                sentinel = thread.sentinel
                if sentinel is not None and sentinel.locked():
                    sentinel.release()
                if thread.process is self.kernel.driver:
                    self.on_end()

        self.on_start()
        thread = self.kernel.spawn(self.kernel.current, run)
        thread.number, thread.store = next(self._numbers), self.locals.new()
        thread.gr_context = contextvars.Context()  # a new thread begins with an empty one
        return thread.number

    def end(self) -> None:
        """Python keeps a list of all threads; those of the world that have not ended will not do so any more."""
        active: dict[int, Any] = vars(threading)["_active"]
        for number in range(FIRST_NUMBER, next(self._numbers)):
            active.pop(number, None)

    def sentinel(self) -> Any:
        """threading._set_sentinel: a lock that is released when the running thread has ended."""
        if not self.gate.inside():
            return _thread._set_sentinel()  # type: ignore[attr-defined, unused-ignore]
        lock = running_thread().sentinel = self.lock()
        return lock

    def lock(self) -> Any:
        """threading.Lock()."""
        if not self.gate.inside() or self._is_never_waited_for(sys._getframe(1)):
            return _thread.allocate_lock()
        return ParkingLock(self.kernel, self.gate.inside)

    def waiter(self) -> Any:
        """threading._allocate_lock(): the lock that a condition waits for."""
        return ParkingLock(self.kernel, self.gate.inside) if self.gate.inside() else _thread.allocate_lock()

    def rlock(self) -> Any:
        """threading.RLock()."""
        if not self.gate.inside() or self._is_never_waited_for(sys._getframe(1)):
            return _thread.RLock()
        return ParkingRLock(self.kernel, self.gate.inside)

    def _is_never_waited_for(self, maker: FrameType) -> bool:
        code = maker.f_code
        if code is _QUEUE:  # a user's own kind of queue may wait within its methods
            module = type(maker.f_locals.get("self")).__module__
            return module == "queue" or module in self._modules
        return code is _EVENT or (code.co_name == "__init__" and maker.f_globals.get("__name__") in self._modules)


_EVENT, _QUEUE = threading.Event.__init__.__code__, queue.Queue.__init__.__code__


class _Handle:
    """What Python 3.13 joins a thread by."""

    def __init__(self, threads: Threads) -> None:
        self._threads, self._done = threads, False
        self._waiters: dict[Any, None] = {}
        self.ident = 0

    def is_done(self) -> bool:
        return self._done

    def _set_done(self) -> None:
        self._done = True
        for waiter in list(self._waiters):
            self._threads.kernel.wake(waiter)

    def join(self, timeout: float | None = None) -> None:
        kernel = self._threads.kernel
        deadline_ns = None if timeout is None or timeout < 0 else kernel.due_ns(timeout)
        while not self._done and (deadline_ns is None or kernel.now_ns < deadline_ns):
            kernel.wait_in(self._waiters, deadline_ns, "the end of a thread")


def _make_handle(world: Any) -> object:
    threads: Threads = world.threads
    real = getattr(threading, "_ThreadHandle", None)

    def make() -> Any:
        return _Handle(threads) if threads.gate.inside() else real() if real else None

    return make


def _start_joinable(world: Any) -> object:
    threads: Threads = world.threads
    real = getattr(threading, "_start_joinable_thread", None)

    def start(function: Callable[[], object], handle: Any = None, daemon: bool = True) -> Any:
        if not isinstance(handle, _Handle):
            return real(function, handle=handle, daemon=daemon) if real else None

        def body() -> None:
            try:
                function()
            finally:
                handle._set_done()

        handle.ident = threads.spawn(body)
        return handle

    return start


def _throw(world: Any) -> object:
    threads: Threads = world.threads
    real: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def throw(number: Any, error: Any) -> int:
        plain: int = getattr(number, "value", number)
        if not threads.gate.inside() or plain == _real_number():
            return int(real(number, error))
        return int(world.unix.throw(plain, getattr(error, "value", error)))

    return throw


# --- locks, and what is made of them, that a module holds


def _semaphore(one: Any) -> Any:
    made = type(one)(getattr(one, "_initial_value", one._value))
    made._value = one._value
    return made


def _event(one: threading.Event) -> threading.Event:
    made = threading.Event()
    if one.is_set():
        made.set()
    return made


def _queue(one: Any) -> Any:
    made = type(one)(one.maxsize)
    made.queue, made.unfinished_tasks = type(one.queue)(one.queue), one.unfinished_tasks
    return made


def _executor(one: Any) -> concurrent.futures.ThreadPoolExecutor:
    made = concurrent.futures.ThreadPoolExecutor(
        one._max_workers, one._thread_name_prefix, one._initializer, one._initargs
    )
    made._shutdown = one._shutdown
    return made


#: How to make the like of what has exactly this type, as a fork leaves it to the child, without its threads.
_LIKE: dict[type, Callable[[Any], Any]] = {
    threading.Condition: lambda _: threading.Condition(),
    threading.Event: _event,
    threading.Semaphore: _semaphore,
    threading.BoundedSemaphore: _semaphore,
    threading.Barrier: lambda one: threading.Barrier(one._parties, one._action, one._timeout),
    queue.Queue: _queue,
    queue.LifoQueue: _queue,
    queue.PriorityQueue: _queue,
    concurrent.futures.ThreadPoolExecutor: _executor,
}


def _like(threads: Threads, value: object) -> Callable[[Any], Any] | None:
    """How to make the like of a lock, or of what is made of locks; None if it is neither."""
    if isinstance(value, (REAL_LOCK, ParkingLock)):
        return lambda _: threads.lock()
    if isinstance(value, (REAL_RLOCK, ParkingRLock)):
        return lambda _: threads.rlock()
    return _LIKE.get(type(value))


def _is_waited_for(value: Any) -> bool:
    """Does a thread wait in it already? Then it is that one's and the test's: it runs outside of the simulation."""
    condition = getattr(value, "not_empty", None) or getattr(value, "_cond", value)
    return bool(getattr(condition, "_waiters", ())) and not isinstance(value, (ParkingLock, ParkingRLock))


def own_module_locks(threads: Threads, cells: Cells, patches: Patches, modules: list[ModuleType]) -> None:
    """Give each process locks of its own where these modules hold one: a fork would have copied them.

    So with queues, and with executors, whose threads a fork leaves behind. What several modules hold stays one thing.
    """
    found: dict[int, tuple[object, Callable[[Any], Any], list[tuple[ModuleType, str]]]] = {}
    for module in modules:
        for name, value in list(vars(module).items()):
            make = _like(threads, value)
            if make is not None:
                found.setdefault(id(value), (value, make, []))[2].append((module, name))
    for value, make, places in found.values():
        if not _is_waited_for(value):
            made = make(value)
            for module, name in places:
                patches.set(module, name, made)
        cells.name(*((vars(module), name) for module, name in places), fresh=make, fork=make)


def executors_inside() -> list[concurrent.futures.ThreadPoolExecutor]:
    """Those that have started threads inside the simulation that is about to end."""
    found: dict[int, concurrent.futures.ThreadPoolExecutor] = {}
    for thread in list(concurrent.futures.thread._threads_queues):
        reference = next(iter(getattr(thread, "_args", None) or ()), None)
        executor = reference() if callable(reference) else None
        if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            found[id(executor)] = executor
    return list(found.values())


def renew(executors: list[concurrent.futures.ThreadPoolExecutor]) -> None:
    """Their threads have ended with the simulation; who finds one in a cache gets new ones, real ones."""
    for executor in executors:
        blank = concurrent.futures.ThreadPoolExecutor(1)
        for name in ("_work_queue", "_idle_semaphore", "_threads", "_shutdown_lock"):
            setattr(executor, name, getattr(blank, name))


def modules_around(names: set[str]) -> list[ModuleType]:
    """The modules of these names, and all loaded ones of the same packages."""
    roots = {name.partition(".")[0] for name in names} - {"celery", "__main__"}
    wanted = [
        module for name, module in sorted(sys.modules.items()) if name in names or name.partition(".")[0] in roots
    ]
    return [module for module in wanted if isinstance(module, ModuleType)]


# --- rows


_WHY = "a thread that is started inside is one of the simulated process, and its waits park"

_STARTING: tuple[Row, ...] = (
    (
        Row("threading:_start_joinable_thread", _WHY, _start_joinable),
        Row("threading:_ThreadHandle", _WHY, _make_handle),
    )
    if sys.version_info >= (3, 13)
    else (
        Row("threading:_start_new_thread", _WHY, lambda world: world.threads.start),
        Row("threading:_set_sentinel", _WHY, lambda world: world.threads.sentinel),
    )
)

ROWS: tuple[Row, ...] = (
    *_STARTING,
    Row("threading:get_ident", "each simulated thread has a number", lambda world: world.threads.number),
    Row(
        "ctypes:pythonapi.PyThreadState_SetAsyncExc",
        "a pool of a user's own ends a task by an exception in its thread, which is a simulated one",
        _throw,
    ),
    Row("threading:Lock", _WHY, lambda world: world.threads.lock),
    Row("threading:_allocate_lock", _WHY, lambda world: world.threads.waiter),
    Row("threading:RLock", _WHY, lambda world: world.threads.rlock),
    Row("threading:_shutdown_locks", "threads that end with their world", lambda _: set(), new=True),
    Row("queue:SimpleQueue", "the one in C waits for real", lambda _: vars(queue)["_PySimpleQueue"]),
    Row(
        "concurrent.futures.thread:_global_shutdown_lock",
        "it is held while a thread starts",
        lambda world: world.threads.lock(),
    ),
    Row(
        "concurrent.futures.thread:_threads_queues",
        "the interpreter would wait for these threads at its end",
        lambda _: type(concurrent.futures.thread._threads_queues)(),
    ),
)
