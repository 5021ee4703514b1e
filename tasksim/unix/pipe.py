"""pipe(2): a buffer of 64 KiB with two ends (pipe(7))."""

from __future__ import annotations

import errno
import os

from tasksim.kernel.loop import Kernel
from tasksim.unix.descriptors import ATOMIC, CAPACITY, ERR, HUP, IN, OUT, File


class _End(File):
    buffer: bytearray


class ReadEnd(_End):
    """The end that is read from."""

    def events(self) -> int:
        return (IN if self.buffer else 0) | (0 if self.other.references else HUP)

    def on_close(self) -> None:
        self.other.notify()

    def read(self, count: int) -> bytes:
        buffer = self.buffer
        while not buffer and count:
            if not self.other.references:
                return b""
            if self.flags & os.O_NONBLOCK:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            self.kernel.wait_in(self.waiters, None, "a pipe to be written to")
        was_full = CAPACITY - len(buffer) < ATOMIC
        data = bytes(buffer) if len(buffer) <= count else bytes(buffer[:count])
        del buffer[:count]
        if was_full or self.other.waiters:
            self.other.notify()
        return data


class WriteEnd(_End):
    """The end that is written to."""

    def events(self) -> int:
        room = CAPACITY - len(self.buffer)
        return (OUT if room >= ATOMIC else 0) | (0 if self.other.references else ERR)

    def on_close(self) -> None:
        self.other.notify()

    def write(self, data: bytes) -> int:
        total = len(data)
        rest = memoryview(data)
        while total:
            if not self.other.references:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            room = CAPACITY - len(self.buffer)
            if room >= len(rest) or (room and total > ATOMIC):
                self.buffer += rest[:room]
                rest = rest[room:]
                self.other.notify()
                if not rest:
                    return total
            if self.flags & os.O_NONBLOCK:
                if len(rest) < total:
                    return total - len(rest)
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            self.kernel.wait_in(self.waiters, None, "a pipe to be read from")
        return 0


def make_pipe(kernel: Kernel) -> tuple[ReadEnd, WriteEnd]:
    """Two ends of one buffer, not yet open in any process."""
    reader, writer = ReadEnd(kernel), WriteEnd(kernel)
    reader.other, writer.other = writer, reader
    reader.buffer = writer.buffer = reader.inflow = writer.outflow = bytearray()
    return reader, writer
