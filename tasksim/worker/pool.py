"""Celery's own prefork pool on the simulated Unix: TaskPool, AsynPool, billiard's Pool and Worker as shipped.

Only the fork itself is replaced, and the names through which they reach descriptors, children and signals.
"""

from __future__ import annotations

import multiprocessing.util
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import billiard.connection
import billiard.pool
import billiard.popen_fork
import celery.concurrency.asynpool as asynpool
import celery.concurrency.prefork  # noqa: F401 (a row's place)

from tasksim.errors import UnsupportedError
from tasksim.kernel.loop import FIRST_PID
from tasksim.kernel.process import running_thread
from tasksim.patching.table import Row
from tasksim.unix.descriptors import IN
from tasksim.unix.poll import Poll
from tasksim.unix.process import UnixProcess
from tasksim.unix.thread import thread_class
from tasksim.worker.world import World

#: What the time limit handler is told when it asks for a process group: that nobody here leads one.
NO_GROUP = 1


class SystemModule(types.ModuleType):
    """`os` with the simulated pipes and processes; all else is the real one."""

    def __init__(self, world: World) -> None:
        super().__init__("os")
        for name in ("pipe", "dup", "close", "read", "write", "waitpid", "kill"):
            setattr(self, name, getattr(world.unix, name))
        self.getpgid = lambda _: NO_GROUP

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _system(world: World) -> object:
    return SystemModule(world)


def _launch(world: World) -> object:
    unix = world.unix

    def launch(self: Any, process_obj: Any) -> None:
        parent_reads, child_writes = unix.pipe()

        def child() -> object:
            unix.close(parent_reads)
            return process_obj._bootstrap()

        parent = world.kernel.current
        assert isinstance(parent, UnixProcess)
        self.pid = unix.fork(world.child_name(parent), child).pid
        unix.close(child_writes)
        self.sentinel = parent_reads

    return launch


# --- billiard.connection.Connection: which process opened it, and which very file it has


def _connection_init(world: World) -> object:
    real = billiard.connection.Connection.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        self._opener, self._file = world.kernel.current, world.unix.file(self._handle)

    return init


def _connection_close(world: World) -> object:
    real = billiard.connection._ConnectionBase.close

    def close(self: Any) -> None:
        if self._handle is not None and world.kernel.current is not self._opener:
            # The object is shared with the parent, the descriptor is not.
            world.unix.close_own(self._handle, self._file)
        else:
            real(self)

    return close


def _connection_close_descriptor(world: World) -> object:
    def close(self: Any, _close: Any = None) -> None:
        # __del__ may run in another process, or when the number belongs to another file.
        world.unix.close_own(self._handle, self._file)

    return close


def _connection_del(world: World) -> object:
    def collected(self: Any) -> None:
        # A connection that outlives its simulation has nothing to close any more.
        if self._handle is not None and not world.kernel.closed:
            self._close()

    return collected


def _wait_for_connections(world: World) -> object:
    def wait(descriptors: Any, timeout: float | None) -> list[Any]:
        poller = _poller(world)()
        by_number = {fd if type(fd) is int else fd.fileno(): fd for fd in descriptors}
        for number in by_number:
            poller.register(number, IN)
        return [by_number[fd] for fd, _ in poller.poll(None if timeout is None else timeout * 1000)]

    return wait


def _poller(world: World) -> Callable[[], Poll]:
    import select

    real = getattr(select.poll, "real", select.poll)
    return lambda: Poll(world.unix, real)


def _select_defaults(world: World) -> object:
    readers, writers, err, timeout, _, *masks = asynpool._select_imp.__defaults__
    return (readers, writers, err, timeout, _poller(world), *masks)


# --- what a child does to the interpreter that it believes to have for itself


def _standard_streams(_: World) -> object:
    return types.SimpleNamespace(
        stdin=None, stdout=sys.stdout, stderr=sys.stderr, modules=sys.modules, exc_info=sys.exc_info
    )


def _no_loggers(_: World) -> object:
    return types.SimpleNamespace(
        Logger=types.SimpleNamespace(manager=types.SimpleNamespace(loggerDict={})),
        getLogger=lambda _: types.SimpleNamespace(handlers=()),
        PlaceHolder=(),
    )


def _parent_death_signal(world: World) -> object:
    def set_signal(number: int) -> None:
        process = world.kernel.current
        assert isinstance(process, UnixProcess)
        process.dies_with_parent = bool(number)

    return set_signal


def _finalize(_: World) -> object:
    finalizers: Any = multiprocessing.util
    _, _, debug, _ = finalizers.Finalize.__call__.__defaults__
    return None, finalizers._finalizer_registry, debug, os.getpid


def _close_open_descriptors(world: World) -> object:
    def close(keep: Any = None) -> None:
        kept = [one for one in keep or () if type(one) is int]  # files, and what pytest puts in their place, are real
        for descriptor in [one for one in world.kernel.current.files if one not in kept]:  # type: ignore[attr-defined]
            world.unix.close(descriptor)

    return close


def _nothing(_: World) -> object:
    return lambda *_, **__: None


_FILES = "pipes and children are simulated"
_OTHERS = "it would act on the interpreter that all simulated processes share"

ROWS = (
    Row("billiard.popen_fork:Popen._launch", "the fork itself: a simulated process instead", _launch),
    Row("billiard.popen_fork:os", _FILES, _system),
    Row("billiard.connection:os", _FILES, _system),
    Row("billiard.pool:os", _FILES, _system),
    Row("celery.concurrency.asynpool:os", _FILES, _system),
    Row("billiard.pool:_kill", _FILES, lambda world: world.unix.kill),
    Row("billiard.connection:Connection._send.__defaults__", _FILES, lambda world: (world.unix.write,)),
    Row("billiard.connection:Connection._recv.__defaults__", _FILES, lambda world: (world.unix.read,)),
    Row(
        "billiard.connection:Connection._close",
        "a collected object closes its own file only",
        _connection_close_descriptor,
    ),
    Row("billiard.connection:Connection.close", "after a fork the object is shared", _connection_close, new=True),
    Row(
        "billiard.connection:Connection.__init__", "as above: notes the opener and the file", _connection_init, new=True
    ),
    Row("billiard.connection:_ConnectionBase.__del__", "as above, after the end of the world", _connection_del),
    Row("billiard.connection:_poll", _FILES, _wait_for_connections),
    Row("billiard.compat:__write__", _FILES, lambda world: world.unix.write),
    Row("billiard.compat:fcntl", _FILES, lambda world: world.unix.fcntl),
    Row("celery.concurrency.asynpool:_select_imp.__defaults__", _FILES, _select_defaults),
    Row("celery.concurrency.asynpool:__read__.__defaults__", _FILES, lambda world: (world.unix.read,)),
    Row(
        "celery.concurrency.asynpool:gc",
        "a collection for each child: 12 ms, and finalizers in the wrong process",
        lambda _: types.SimpleNamespace(collect=lambda: 0),
    ),
    Row(
        "celery.concurrency.prefork:threading",
        "the thread that fires timers while the pool closes",
        lambda world: types.SimpleNamespace(
            Thread=thread_class(world.kernel), Event=threading.Event, Lock=threading.Lock
        ),
        needs="celery>=5.6",
    ),
    Row("billiard.process:sys", "a child closes its standard input", _standard_streams),
    Row("billiard.process:logging", "a child renews the locks of all loggers", _no_loggers),
    Row("billiard.util:_finalizer_registry", "a child clears it, and the parent's would be gone", lambda _: {}),
    Row("multiprocessing.util:_finalizer_registry", "what a dead process has left would run at exit", lambda _: {}),
    Row(
        "multiprocessing.util:_afterfork_registry",
        "objects of simulated processes would be told of real forks",
        lambda _: weakref.WeakValueDictionary(),
    ),
    Row(
        "billiard.sharedctypes:_new_value",
        "each worker would map a real file to share numbers with its children",
        lambda _: lambda type_: type_(),
    ),
    Row("billiard.util:_run_after_forkers", _OTHERS, _nothing),
    Row("billiard.util:_exit_function", _OTHERS, _nothing),
    Row("celery.platforms:_set_pdeathsig", "the test process itself would get PR_SET_PDEATHSIG", _parent_death_signal),
    Row(
        "celery.platforms:close_open_fds", "embedded beat closes all but a few, the test's too", _close_open_descriptors
    ),
    Row("celery.platforms:_setproctitle", "the title of the test process", lambda _: None),
)


# --- names of os and signal that tasks use too: simulated inside, real in the test and in other threads


def _inside(module: Any, name: str, simulated: Callable[[World], Callable[..., Any]]) -> Row:
    def make(world: World) -> object:
        real, ours = getattr(module, name), simulated(world)
        kernel, driver, inside = world.kernel, world.kernel.driver, world.gate.inside

        def function(*arguments: Any, **options: Any) -> Any:
            if kernel.current is driver or not inside():
                return real(*arguments, **options)
            return ours(*arguments, **options)

        function.__name__ = name
        return function

    return Row(f"{module.__name__}:{name}", "a task asks about, or acts on, its own process", make)


def _kill(world: World) -> object:
    real, unix, driver = os.kill, world.unix, world.kernel.driver

    def kill(pid: int, number: int) -> None:
        if pid in unix.processes:
            unix.kill(pid, number)
        elif pid == driver.pid and unix.tell_test(number):
            pass
        elif pid == driver.pid and number and world.kernel.current is not driver:
            raise UnsupportedError(
                f"{world.kernel.current.name} sends {signal.Signals(number).name} to the test's process (os.getppid() "
                "of a worker's main process), which has no handler for it and would end"
            )
        elif world.kernel.current is driver or pid == driver.pid or _is_real_child(pid):
            real(pid, number)
        else:
            raise ProcessLookupError(3, "No such process")

    return kill


def _is_real_child(pid: int) -> bool:
    """Is it a program that somebody, a task with `subprocess` say, has really started?"""
    if not 0 < pid < FIRST_PID:
        return False
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _waitpid(world: World) -> Callable[[int, int], tuple[int, int]]:
    real = os.waitpid

    def waitpid(pid: int, options: int) -> tuple[int, int]:
        return real(pid, options) if _is_real_child(pid) else world.unix.waitpid(pid, options)

    return waitpid


def _parent_pid(world: World) -> Callable[[], int]:
    def getppid() -> int:
        parent = world.kernel.current.parent
        return parent.pid if parent is not None and not parent.dead else 1

    return getppid


def _exit(world: World) -> Callable[[int], None]:
    def exit_now(code: int) -> None:
        process = world.kernel.current
        assert isinstance(process, UnixProcess)
        world.unix.exit(process, (code & 255) << 8)

    return exit_now


def _set_handler(world: World) -> object:
    set_handler: Any = _inside(signal, "signal", lambda world: world.unix.set_handler).make(world)

    def set_in_main_thread(number: int, handler: Any) -> Any:
        if getattr(running_thread(), "number", 0):
            raise ValueError("signal only works in main thread of the main interpreter")
        return set_handler(number, handler)

    return set_in_main_thread


PROCESS_ROWS = (
    _inside(os, "getpid", lambda world: lambda: world.kernel.current.pid),
    _inside(os, "getppid", _parent_pid),
    _inside(os, "_exit", _exit),
    _inside(os, "waitpid", _waitpid),
    Row("os:kill", "a task may kill its own process or another simulated one", _kill),
    Row("signal:signal", "a task sets handlers of its own process, and only its main thread may", _set_handler),
    _inside(signal, "getsignal", lambda world: world.unix.get_handler),
    _inside(signal, "pthread_sigmask", lambda world: world.unix.set_mask),
    _inside(signal, "raise_signal", lambda world: world.unix.raise_signal),
    _inside(signal, "pthread_kill", lambda world: world.unix.thread_kill),
    _inside(signal, "setitimer", lambda world: world.unix.set_timer),
    _inside(signal, "getitimer", lambda world: world.unix.get_timer),
    _inside(signal, "alarm", lambda world: world.unix.alarm),
    _inside(signal, "pause", lambda world: world.unix.pause),
    _inside(os, "abort", lambda world: world.unix.abort),
    _inside(os, "killpg", lambda world: world.unix.kill_group),
    Row(
        "multiprocessing.util:Finalize.__call__.__defaults__",
        "what a pool does at its end, it does in a simulated process only",
        _finalize,
    ),
)
