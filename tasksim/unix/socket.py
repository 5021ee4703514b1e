"""A connected stream socket: bytes in a buffer, the rest is its wire's."""

from __future__ import annotations

import errno
import os
import socket as real_socket
from typing import Any, Protocol

from tasksim.unix.descriptors import ERR, HUP, IN, OUT, Descriptors, File

#: As plain numbers: with the enumeration's members each `&` is a call.
_PEEK, _DONTWAIT = int(real_socket.MSG_PEEK), int(real_socket.MSG_DONTWAIT)


class Line(Protocol):
    """What a socket writes to."""

    open: bool

    def send(self, payload: Any) -> None:
        """Hand bytes over."""

    def close(self, reason: str = "closed") -> None:
        """The last descriptor is closed."""


class StreamFile(File):
    """The open file behind a connected socket.

    Attributes:
        line: the connection; set by whoever connects.
        ended: the other side is gone.
    """

    line: Line

    def __init__(self, system: Descriptors) -> None:
        super().__init__(system.kernel)
        self.buffer = bytearray()
        self.ended = False

    @property
    def unread(self) -> bool:
        """Bytes are there that nobody has read."""
        return bool(self.buffer)

    def feed(self, payload: bytes) -> None:
        """Bytes arrive."""
        self.buffer += payload
        self.notify()

    def hang_up(self) -> None:
        """The other side is gone."""
        self.ended = True
        self.notify()

    def events(self) -> int:
        return (IN if self.buffer or self.ended else 0) | OUT | (HUP | ERR if self.ended and not self.buffer else 0)

    def on_close(self) -> None:
        self.line.close()


class StreamSocket:
    """What clients use of socket.socket, on a simulated file."""

    def __init__(self, system: Descriptors, file: StreamFile, peer: tuple[str, int]) -> None:
        self._system, self.file, self._peer = system, file, peer
        self.descriptor = system.open(file)
        self._timeout: float | None = None

    def fileno(self) -> int:
        """The descriptor, -1 when closed."""
        return self.descriptor

    def settimeout(self, timeout: float | None) -> None:
        """Seconds; None blocks, 0 does not."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """Seconds."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """As socket.setblocking."""
        self._timeout = None if flag else 0.0

    def setsockopt(self, *_: Any) -> None:
        """Options change nothing here."""

    def getsockopt(self, *_: Any) -> int:
        """No option is set, and there is no error to report."""
        return 0

    def getpeername(self) -> tuple[str, int]:
        """The server's address."""
        return self._peer

    def getsockname(self) -> tuple[str, int]:
        """A local address, another one for each connection."""
        return "127.0.0.1", 40000 + getattr(self.file.line, "number", 0) % 20000

    def sendall(self, data: Any) -> None:
        """Hand all bytes over."""
        self._system.kernel.poll_point()
        self.file.line.send(bytes(data))

    def send(self, data: Any) -> int:
        """Hand all bytes over; the buffer of a simulated socket is never full."""
        self.sendall(data)
        return len(data)

    def recv(self, count: int, flags: int = 0) -> bytes:
        """Wait for bytes; b"" when the other side is gone."""
        file = self.file
        if not file.buffer and not file.ended:
            self._wait(flags)
        buffer = file.buffer
        data = bytes(buffer) if len(buffer) <= count else bytes(buffer[:count])
        if not flags & _PEEK:
            del buffer[:count]
        return data

    def _wait(self, flags: int) -> None:
        file, kernel = self.file, self._system.kernel
        if self._timeout == 0 or flags & _DONTWAIT or file.flags & os.O_NONBLOCK:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        deadline_ns = None if self._timeout is None else kernel.due_ns(self._timeout)
        while not file.buffer and not file.ended:
            if deadline_ns is not None and kernel.now_ns >= deadline_ns:
                raise TimeoutError("timed out")
            kernel.wait_in(file.waiters, deadline_ns, f"an answer from {self._peer[0]}:{self._peer[1]}")

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Wait for bytes and put them into a buffer."""
        data = self.recv(nbytes or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """Nothing: the close that follows says it all."""

    def close(self) -> None:
        """Close this process' descriptor, if it still is this socket's."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            self._system.close_own(descriptor, self.file)

    def __enter__(self) -> StreamSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
