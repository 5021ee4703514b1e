"""A connection over which whole AMQP methods go, as (channel, method, arguments, content)."""

from __future__ import annotations

import errno
from _thread import RLock
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
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

    @property
    def unread(self) -> bool:
        """Methods are there that nobody has read."""
        return bool(self.inbox)

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
        self.descriptor = system.open(file)
        self.timeout: float | None = None

    def fileno(self) -> int:
        """The descriptor, -1 when closed."""
        return self.descriptor

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

    def close(self) -> None:
        """Close the running process' descriptor, if it still is this socket's."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            self._system.close_own(descriptor, self._file)


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
        self._timeout: float | None = None
        # A context that does nothing, in C: one thread enters it, which may have done so before.
        self._context: AbstractContextManager[object] = RLock()

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

    def having_timeout(self, timeout: float | None) -> AbstractContextManager[object]:
        """The one read or write within it has this time-out, in seconds; None leaves what the socket has.

        py-amqp has one in each (Connection.blocking_read, Channel._basic_publish).
        """
        self._timeout = timeout
        return self._context

    def write(self, payload: Payload) -> None:
        """Send a method."""
        self._wrote, self._timeout = True, None
        try:
            self._file.wire.send(payload)
        except OSError:
            self.connected = False
            raise

    def read_frame(self) -> Payload:
        """Wait for a method."""
        file, sock, timeout = self._file, self.sock, self._timeout
        self._timeout = None
        if sock is not None:
            if sock.descriptor < 0:  # closed by the program itself
                raise OSError(errno.EBADF, "Bad file descriptor")
            if timeout is None:
                timeout = sock.timeout
        if not file.inbox and not file.ended:
            self._wait(file, timeout)
        if file.inbox:
            return file.inbox.popleft()
        self.connected = False
        raise OSError("Server unexpectedly closed connection")

    def _wait(self, file: MethodFile, timeout: float | None) -> None:
        kernel = file.kernel
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
