"""The table of open files of a process; open files are counted over fork and dup."""

from __future__ import annotations

import errno
import fcntl as real_fcntl
from typing import TYPE_CHECKING, Any

from tasksim.kernel.loop import Kernel

if TYPE_CHECKING:
    from tasksim.unix.poll import Epoll

#: Simulated descriptors begin here; no real one is as large.
FIRST_DESCRIPTOR = 1 << 20

IN, OUT, ERR, HUP, NVAL = 1, 4, 8, 16, 32

#: What a pipe holds, and what a write puts into it in one piece or not at all (PIPE_BUF), in bytes; pipe(7).
CAPACITY, ATOMIC = 65536, 4096


class File:
    """An open file description: shared by fork and dup, closed with the last descriptor.

    Attributes:
        flags: as fcntl(F_GETFL) gives them; O_NONBLOCK counts for all who share the description.
        inflow: of a pipe's end for reading, the bytes in the pipe; None of any other file.
        outflow: the same of a pipe's end for writing.
        other: a pipe's other end.
        waiters: threads that wait for a change.
        watchers: pollers that have it in their set, and under which descriptor.
    """

    inflow: bytearray | None = None
    outflow: bytearray | None = None
    other: File

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.references = self.flags = 0
        self.waiters: dict[Any, None] = {}
        self.watchers: dict[tuple[Epoll, int], None] = {}

    def notify(self) -> None:
        """Something has changed: whoever waits for this file looks again."""
        for watcher, descriptor in self.watchers:
            # As `Epoll.notice`, without the call: most changes are of pipes in an event loop.
            watcher.candidates[descriptor] = None
            if watcher.waiter is not None:
                self.kernel.wake(watcher.waiter)
        if self.waiters:
            for thread in list(self.waiters):
                self.kernel.wake(thread)

    def events(self) -> int:
        """What poll(2) would say."""
        return 0

    def read(self, count: int) -> bytes:  # noqa: ARG002
        """read(2)."""
        raise OSError(errno.EBADF, "Bad file descriptor")

    def write(self, data: bytes) -> int:  # noqa: ARG002
        """write(2)."""
        raise OSError(errno.EBADF, "Bad file descriptor")

    def on_close(self) -> None:
        """The last descriptor is closed."""

    def release(self) -> None:
        """One descriptor less."""
        self.references -= 1
        if not self.references:
            for watcher, descriptor in list(self.watchers):
                watcher.forget(descriptor, self)
            self.on_close()


class Descriptors:
    """System calls on descriptors, for the process that runs."""

    kernel: Kernel

    def _files(self) -> dict[int, File]:
        files: dict[int, File] = self.kernel.current.files  # type: ignore[attr-defined]  # it is a UnixProcess
        return files

    def open(self, file: File) -> int:
        """Give a file the lowest free descriptor of the running process: numbers are reused, as in life."""
        files = self._files()
        descriptor = FIRST_DESCRIPTOR
        while descriptor in files:
            descriptor += 1
        files[descriptor] = file
        file.references += 1
        return descriptor

    def file(self, descriptor: Any) -> File:
        """The open file behind a descriptor, or behind an object with `fileno`."""
        files: dict[int, File] = self.kernel.current.files  # type: ignore[attr-defined]  # as above; called often
        try:
            return files[descriptor if type(descriptor) is int else descriptor.fileno()]
        except KeyError:
            raise OSError(errno.EBADF, "Bad file descriptor") from None

    def has(self, descriptor: int) -> bool:
        """Does the running process have this descriptor?"""
        return descriptor in self._files()

    def close(self, descriptor: int) -> None:
        """close(2)."""
        file = self.file(descriptor)
        del self._files()[descriptor]
        file.release()

    def close_own(self, descriptor: int, file: File) -> None:
        """Close a descriptor only if it still is this very file's, in the process that runs.

        For objects that may be collected in another process, or after their number was given to another file.
        """
        if not self.kernel.closed and self._files().get(descriptor) is file:
            self.close(descriptor)

    def dup(self, descriptor: int) -> int:
        """dup(2)."""
        return self.open(self.file(descriptor))

    def read(self, descriptor: int, count: int) -> bytes:
        """read(2)."""
        # A task passes here and in `write` ten times: what a pipe does mostly is done without calls.
        found: File | None = self.kernel.current.files.get(descriptor)  # type: ignore[attr-defined]
        if found is None:
            found = self.file(descriptor)
        inflow = found.inflow
        if inflow and len(inflow) <= CAPACITY - ATOMIC:  # nobody waits for room
            data = bytes(inflow[:count])
            del inflow[:count]
            return data
        return found.read(count)

    def write(self, descriptor: int, data: Any) -> int:
        """write(2)."""
        found: File | None = self.kernel.current.files.get(descriptor)  # type: ignore[attr-defined]
        if found is None:
            found = self.file(descriptor)
        outflow, count = found.outflow, len(data)
        if outflow is not None and found.other.references and len(outflow) + count <= CAPACITY:
            outflow += data
            found.other.notify()
            return count
        return found.write(data)

    def fcntl(self, descriptor: int, operation: int, argument: int = 0) -> int:
        """fcntl(2), as far as F_GETFL and F_SETFL; other operations do nothing."""
        file = self.file(descriptor)
        if operation == real_fcntl.F_GETFL:
            return file.flags
        if operation == real_fcntl.F_SETFL:
            file.flags = argument
        return 0
