"""What would really leave the process, or really block it."""

from __future__ import annotations

import _thread
import bdb
import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tasksim.errors import BlockedForReal, ConnectionRefused, UnsupportedError
from tasksim.kernel import loop
from tasksim.kernel.loop import Kernel
from tasksim.patching.clock import real_monotonic
from tasksim.patching.table import Row

#: Real seconds that somebody from outside has to connect to a socket.
PATIENCE = 1.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "", None}


class Gate:
    """Which real connections may be made.

    Args:
        allowed: hosts ("db") or hosts with a port ("db:5432").
        world_of_session: no test has options of its own; what is allowed stands in the ini file.

    Attributes:
        refused: what was refused to whom, as sentences, each once.
    """

    def __init__(self, kernel: Kernel, allowed: Iterable[str], *, world_of_session: bool = False) -> None:
        self._kernel, self._home = kernel, _thread.get_ident()
        self._world_of_session = world_of_session
        self._thread = self._home
        self._allowed = set(allowed)
        self._addresses: set[tuple[str, int | None]] = set()
        self.refused: dict[str, None] = {}

    def inside(self) -> bool:
        """Is the caller in the simulation's thread?"""
        return _thread.get_ident() == self._thread

    def leave(self) -> None:
        """From now on nobody is inside: locks, sockets and sleeps are real ones."""
        self._thread = 0

    def enter(self) -> None:
        """Undo `leave`."""
        self._thread = self._home

    @contextlib.contextmanager
    def left(self) -> Iterator[None]:
        """What is done within is done for real, as one step of no virtual time."""
        before = self._thread
        self.leave()
        try:
            yield
        finally:
            self._thread = before

    def allows(self, host: Any, port: Any) -> bool:
        """May a connection be made there?"""
        name = host.decode() if isinstance(host, bytes) else host
        return bool({name, f"{name}:{port}"} & self._allowed) or (name, port) in self._addresses

    def resolved(self, name: Any, found: Iterable[Any]) -> None:
        """An allowed name has these addresses."""
        for _, _, _, _, (address, port, *_) in found:
            self._addresses.add((address, port))
            if name in self._allowed:
                self._allowed.add(address)

    def refuse(self, target: str, what: str = "connect to") -> ConnectionRefused:
        """The error for a connection that may not be made, or for a datagram that may not be sent."""
        if self._world_of_session:
            remedy = f"`tasksim_allow = {target}` in the ini file (under [pytest]; in pyproject.toml a list)"
        else:
            remedy = f'Simulation(..., allow=["{target}"]) or @pytest.mark.tasksim(allow=["{target}"])'
        who = self._kernel.current.name
        self.refused[f"{who} wanted to {what} {target}, which was refused; to allow it: {remedy}"] = None
        return ConnectionRefused(
            f"{who} wants to {what} {target}, outside of the simulation. If it really should, allow it: {remedy}"
        )


def _target(address: Any) -> tuple[Any, Any, str]:
    if isinstance(address, tuple) and len(address) >= 2:
        return address[0], address[1], f"{address[0]}:{address[1]}"
    return address, None, str(address)


def _connect(name: str) -> Callable[[Any], object]:
    def make(world: Any) -> object:
        real, gate = getattr(socket.socket, name), world.gate

        def connect(self: Any, address: Any) -> Any:
            host, port, target = _target(address)
            if gate.inside() and not gate.allows(host, port):
                raise gate.refuse(target)
            return real(self, address)

        return connect

    return make


def _send(name: str, position: int) -> Callable[[Any], object]:
    def make(world: Any) -> object:
        real, gate = getattr(socket.socket, name), world.gate

        def send(self: Any, *arguments: Any) -> Any:
            # `sendto(data, address)` and `sendto(data, flags, address)`; `sendmsg` has it in the fourth place.
            address = arguments[-1] if len(arguments) >= position else None
            if address is not None and gate.inside():
                host, port, target = _target(address)
                if not gate.allows(host, port):
                    raise gate.refuse(target, "send to")
            return real(self, *arguments)

        return send

    return make


def _local(name: Any) -> bool:
    return name in _LOOPBACK or name == socket.gethostname()


def _gethost(function: str) -> Callable[[Any], object]:
    def make(world: Any) -> object:
        real, gate = getattr(socket, function), world.gate

        def ask(host: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if gate.inside() and not _local(name) and not gate.allows(name, None):
                raise gate.refuse(str(name))
            return real(host)

        return ask

    return make


def _getaddrinfo(world: Any) -> object:
    real, gate = socket.getaddrinfo, world.gate

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if not gate.inside():
            return real(host, port, *arguments, **options)
        name = host.decode() if isinstance(host, bytes) else host
        if not _local(name) and not gate.allows(name, port):
            raise gate.refuse(f"{name}:{port}" if port else str(name))
        found = real(host, port, *arguments, **options)
        if gate.allows(name, port):
            gate.resolved(name, found)
        return found

    return getaddrinfo


def _fork(world: Any) -> object:
    real, kernel, gate = os.fork, world.kernel, world.gate

    def fork() -> int:
        if gate.inside() and kernel.current is not kernel.driver:
            raise UnsupportedError(
                f"{kernel.current.name} forks; that would be a real copy of the test. multiprocessing and os.fork are "
                "not served in tasks: do the work in another task, or in a program of its own (subprocess)"
            )
        return real()

    return fork


def _accept(world: Any) -> object:
    real, kernel, gate, watchdog = socket.socket.accept, world.kernel, world.gate, world.watchdog

    def accept(self: Any) -> Any:
        waits = gate.inside() and self.gettimeout() is None and not watchdog.debugged  # Celery's remote debugger
        if waits and not select.select([self.fileno()], [], [], PATIENCE)[0]:
            raise UnsupportedError(
                f"{kernel.current.name} waits at a real socket for somebody to connect, and everything would wait with "
                "it: start a server outside of the tests"
            )
        return real(self)

    return accept


_TIMEOUT = "default time-out of sockets"


def _set_default_timeout(world: Any) -> object:
    real, kernel, gate = socket.setdefaulttimeout, world.kernel, world.gate

    def setdefaulttimeout(timeout: float | None) -> None:
        if gate.inside() and kernel.current is not kernel.driver:
            kernel.current.own[_TIMEOUT] = timeout
        else:
            real(timeout)

    return setdefaulttimeout


def _get_default_timeout(world: Any) -> object:
    real, kernel, gate = socket.getdefaulttimeout, world.kernel, world.gate

    def getdefaulttimeout() -> float | None:
        own: dict[str, Any] = kernel.current.own if gate.inside() else {}
        timeout: float | None = own[_TIMEOUT] if _TIMEOUT in own else real()
        return timeout

    return getdefaulttimeout


def _set_trace(world: Any) -> object:
    real, watchdog = bdb.Bdb.set_trace, world.watchdog

    def set_trace(self: Any, frame: Any = None, *arguments: Any) -> Any:
        watchdog.debugged = True
        return real(self, frame or sys._getframe(1), *arguments)

    return set_trace


ROWS = (
    Row("bdb:Bdb.set_trace", "a person at a debugger may take as long as it takes", _set_trace),
    Row(
        "socket:socket.connect", "no connection leaves the process unless it is allowed", _connect("connect"), new=True
    ),
    Row("socket:socket.connect_ex", "as above", _connect("connect_ex"), new=True),
    Row("socket:socket.sendto", "nor does a datagram, which needs no connection", _send("sendto", 2), new=True),
    Row("socket:socket.sendmsg", "as above", _send("sendmsg", 4), new=True),
    Row("socket:socket.accept", "nobody outside is in virtual time", _accept),
    Row("socket:setdefaulttimeout", "beat sets its own process' (celery.apps.beat)", _set_default_timeout),
    Row("socket:getdefaulttimeout", "as above", _get_default_timeout),
    Row("socket:getaddrinfo", "no question for an address leaves it either", _getaddrinfo),
    Row("socket:gethostbyname", "as getaddrinfo", _gethost("gethostbyname")),
    Row("socket:gethostbyname_ex", "as getaddrinfo", _gethost("gethostbyname_ex")),
    Row("socket:gethostbyaddr", "as getaddrinfo", _gethost("gethostbyaddr")),
    Row("os:fork", "a real fork would copy the test and all simulated processes", _fork),
)


class Watchdog:
    """Looks from a real thread whether the simulation gets on, and ends a step that blocks for real.

    Args:
        limit: real seconds that one step may take.

    Attributes:
        remedy: what to say besides of a step that blocks in this frame.
        debugged: `breakpoint()` was called; from then on nothing is too slow.
    """

    #: Interrupts a blocking call of the main thread; its default action is to be ignored.
    SIGNAL = signal.SIGURG

    def __init__(self, kernel: Kernel, limit: float) -> None:
        self._kernel, self._limit = kernel, limit
        self._over = _thread.allocate_lock()
        self.remedy: Callable[[Any], str] = lambda _: ""
        self.running = self.debugged = False
        self._ident = _thread.get_ident()
        self._main = threading.current_thread() is threading.main_thread()
        self._old: Any = None
        self._error: BlockedForReal | None = None
        self._alarm: tuple[Any, Any] = None, None

    def start(self) -> None:
        """Begin to look."""
        self.running = True
        self._over.acquire()
        if self._main:
            self._old = signal.signal(self.SIGNAL, self._interrupt)
            self.take_interrupts()
            self.take_alarm()
        _thread.start_new_thread(self._look, ())

    def stop(self) -> None:
        """No longer look; the real thread ends by itself."""
        self.running = False
        self._over.release()
        if self._main:
            signal.signal(self.SIGNAL, self._old)
            self.give_back_interrupts()
            handler, ours = self._alarm
            if ours is not None and signal.getsignal(signal.SIGALRM) is ours:
                signal.signal(signal.SIGALRM, handler)

    def take_interrupts(self) -> None:
        """Let Ctrl-C end the test, unless somebody else handles it."""
        if self._main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._keyboard)

    def give_back_interrupts(self) -> None:
        """Undo `take_interrupts`."""
        if self._main and signal.getsignal(signal.SIGINT) == self._keyboard:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def take_alarm(self) -> None:
        """What a handler of SIGALRM raises (pytest-timeout's does) comes out where the test waits.

        The alarm may ring in the middle of a task, and Celery would take it for a failure of the task.
        """
        handler = signal.getsignal(signal.SIGALRM)
        if not self._main or not callable(handler) or handler is self._alarm[1]:
            return

        def ring(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                running = self._kernel.process_of_caller()
                if running is not self._kernel.driver and frame is not None:
                    code = frame.f_code
                    place = f"{code.co_filename}:{frame.f_lineno}, in {code.co_name}"
                    error.add_note(f"{running.name} was running then, at {place}")
                self._kernel.fail(error)

        self._alarm = handler, ring
        signal.signal(signal.SIGALRM, ring)

    def _look(self) -> None:
        kernel, over = self._kernel, self._over
        seen, since = -1, real_monotonic()
        while not over.acquire(timeout=min(1.0, self._limit / 4)):
            if kernel.steps != seen or not self._is_stepping() or self.debugged:
                seen, since = kernel.steps, real_monotonic()
            elif real_monotonic() - since > self._limit:
                since = real_monotonic()
                if self._error is not None and sys.__stderr__ is not None:  # it waits in C, and does not come back
                    print(f"tasksim: {self._error} It cannot be interrupted.", file=sys.__stderr__, flush=True)
                self._end()

    def _is_stepping(self) -> bool:
        """Is something else at work than the test itself, which may take its time? Its further threads may not."""
        if self._kernel.current is not self._kernel.driver:
            return True
        frame = sys._current_frames().get(self._ident)
        while frame is not None and frame.f_back is not None:
            frame = frame.f_back
        return frame is not None and frame.f_code.co_filename == loop.__file__

    def _end(self) -> None:
        frame = sys._current_frames().get(self._ident)
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}" if frame else "unknown place"
        self._error = BlockedForReal(
            f"a step of {self._kernel.current.name} has taken more than {self._limit:g} real seconds, at {place}. "
            "It blocks in the real world, or computes for that long: Limits(block=...) allows more."
            + ("" if frame is None else self.remedy(frame))
        )
        if self._main:
            with contextlib.suppress(ProcessLookupError):
                signal.pthread_kill(self._ident, self.SIGNAL)
        else:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), ctypes.py_object(BlockedForReal))

    def _keyboard(self, *_: object) -> None:
        """Ctrl-C means the test; in the middle of a task, Celery would take it for the end of a pool process."""
        self._kernel.fail(KeyboardInterrupt())

    def _interrupt(self, *_: object) -> None:
        error, self._error = self._error, None
        if error is None:
            return
        kernel = self._kernel
        kernel.fail(error)
