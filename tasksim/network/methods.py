"""A connection over which whole AMQP methods go, as (channel, method, arguments, content)."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tasksim.kernel.loop import SECOND
from tasksim.message import Content
from tasksim.network.wire import Listener, Network, Wire
from tasksim.unix.descriptors import ERR, HUP, IN, OUT, Descriptors, File

__all__ = ["Method", "MethodTransport", "Payload"]

Method = tuple[int, int]
Payload = tuple[int, Method, tuple[Any, ...], Content | None]


class MethodFile(File):
    """The open file of a connection: whole methods in a queue."""

    wire: Wire

    def __init__(self, system: Descriptors) -> None:
        super().__init__(system.kernel)
        self.inbox: deque[Payload] = deque()
        self.ended = False

    def feed(self, payload: Payload) -> None:
        """A method arrives."""
        self.inbox.append(payload)
        self.notify()

    def hang_up(self) -> None:
        """The server is gone."""
        self.ended = True
        self.notify()

    def events(self) -> int:
        return (IN if self.inbox or self.ended else 0) | OUT | (HUP | ERR if self.ended and not self.inbox else 0)

    def on_close(self) -> None:
        self.wire.close("process died" if self.wire.owner.dead else "closed")


class MethodSocket:
    """What py-amqp and kombu use of a socket."""

    def __init__(self, system: Descriptors, file: MethodFile, peer: tuple[str, int]) -> None:
        self._system, self._file, self._peer = system, file, peer
        self._descriptor = system.open(file)
        self.timeout: float | None = None

    def fileno(self) -> int:
        """The descriptor, -1 when closed."""
        return self._descriptor

    def settimeout(self, timeout: float | None) -> None:
        """Seconds; None blocks, 0 does not."""
        self.timeout = timeout

    def gettimeout(self) -> float | None:
        """Seconds."""
        return self.timeout

    def getpeername(self) -> tuple[str, int]:
        """The server's address."""
        return self._peer

    def getsockname(self) -> tuple[str, int]:
        """A local address, another one for each connection."""
        return "127.0.0.1", 40000 + self._file.wire.number % 20000

    def shutdown(self, how: int) -> None:
        """Nothing: the close that follows says it all."""

    def check_open(self) -> None:
        """A socket that the program itself has closed neither reads nor writes.

        Raises:
            OSError: it is closed.
        """
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")

    def close(self) -> None:
        """Close the running process' descriptor, if it still is this socket's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._system.close_own(descriptor, self._file)


class _HavingTimeout:
    """A socket has another time-out for a while. py-amqp asks for this three times a task."""

    __slots__ = ("_before", "_sock", "_timeout")

    def __init__(self, sock: MethodSocket | None, timeout: float | None) -> None:
        self._sock, self._timeout = sock, timeout

    def __enter__(self) -> MethodSocket | None:
        sock = self._sock
        if sock is not None and self._timeout is not None:
            self._before, sock.timeout = sock.timeout, self._timeout
        return sock

    def __exit__(self, *_: object) -> None:
        if self._sock is not None and self._timeout is not None:
            self._sock.timeout = self._before


class MethodTransport:
    """Stands for py-amqp's TCPTransport; behaves as that does at a time-out and at the end."""

    def __init__(
        self,
        system: Descriptors,
        network: Network,
        server_at: Callable[[str, int], Listener],
        address: tuple[str, int],
        read_timeout: float | None,
    ) -> None:
        self._system, self._network, self._server_at = system, network, server_at
        self.host, self.port = address
        self.read_timeout = read_timeout
        self.connected = False
        self.raise_on_initial_eintr = True
        self.sock: MethodSocket | None = None
        self._wrote = False

    def __repr__(self) -> str:
        return f"<MethodTransport {self.host}:{self.port} {'connected' if self.connected else 'disconnected'}>"

    def connect(self) -> None:
        """Open a wire to the server."""
        if self.connected:
            return
        server = self._server_at(self.host, self.port)
        self._file = MethodFile(self._system)
        self._file.wire = self._network.connect(server, self._file)
        self.sock = MethodSocket(self._system, self._file, (self.host, self.port))
        self.connected = True

    def close(self) -> None:
        """Close the socket."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        self.connected = False

    def having_timeout(self, timeout: float | None) -> AbstractContextManager[MethodSocket | None]:
        """Within it the socket has this time-out; None leaves what it has."""
        return _HavingTimeout(self.sock, timeout) if timeout is not None else nullcontext(self.sock)

    def write(self, payload: Payload) -> None:
        """Send a method."""
        self._wrote = True
        try:
            self._file.wire.send(payload)
        except OSError:
            self.connected = False
            raise

    def read_frame(self) -> Payload:
        """Wait for a method."""
        file = self._file
        if self.sock is not None:
            self.sock.check_open()
        if not file.inbox and not file.ended:
            self._wait(file)
        if file.inbox:
            return file.inbox.popleft()
        self.connected = False
        raise OSError("Server unexpectedly closed connection")

    def _wait(self, file: MethodFile) -> None:
        kernel, timeout = file.kernel, self.sock.timeout if self.sock else None
        if timeout == 0:
            # py-amqp looks once before each publish; only looking again and again is polling.
            if not self._wrote:
                kernel.poll_point()
            self._wrote = False
            if not file.inbox and not file.ended:
                raise TimeoutError("timed out")
            return
        patience = self.read_timeout if timeout is None else timeout
        deadline_ns = None if patience is None else kernel.now_ns + round(patience * SECOND)
        while not file.inbox and not file.ended:
            if deadline_ns is not None and kernel.now_ns >= deadline_ns:
                if timeout is None:
                    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
                raise TimeoutError("timed out")
            kernel.wait_in(file.waiters, deadline_ns, f"an answer from {self.host}:{self.port}")
