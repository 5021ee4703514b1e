"""epoll(7) and poll(2) on simulated files: both park, and are woken by the event, never by looking again."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any

from tasksim.kernel.process import running_thread
from tasksim.unix.descriptors import ERR, FIRST_DESCRIPTOR, HUP, IN, NVAL, OUT, Descriptors, File

#: So often an epoll gives the same answer at one instant; from then on each turn of such a loop takes so long.
FREE_ANSWERS, TURN_NS = 5000, 1_000_000


def number_of(which: Any) -> int:
    """The number of a descriptor, or of an object with `fileno`.

    Raises:
        TypeError, ValueError: as select.epoll raises them for what is neither, and for what is closed.
    """
    if type(which) is int:
        return which
    if not hasattr(which, "fileno"):
        raise TypeError("argument must be an int, or have a fileno() method.")
    descriptor: int = which.fileno()
    if descriptor < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({descriptor})")
    return descriptor


class Epoll:
    """select.epoll, level-triggered.

    Only files that were seen ready or have changed since are looked at, so a poll costs the same with many descriptors.
    """

    def __init__(self, system: Descriptors) -> None:
        self._system, self._kernel = system, system.kernel
        self._interest: dict[int, tuple[File, int]] = {}
        self.candidates: dict[int, None] = {}
        self.waiter: Any = None
        self._answer: list[tuple[int, int]] = []
        self._answered_ns = self._same = 0

    def register(self, which: Any, mask: int) -> None:
        """EPOLL_CTL_ADD, for a descriptor or an object with `fileno`."""
        descriptor = which if type(which) is int else number_of(which)
        file: File | None = self._kernel.current.files.get(descriptor)  # type: ignore[attr-defined]  # called often
        if file is None:
            file = self._system.file(descriptor)
        known = self._interest.get(descriptor)
        if known is not None:
            if known[0].references and known[0] is file:
                raise FileExistsError(errno.EEXIST, "File exists")
            self.forget(descriptor, known[0])
        self._interest[descriptor] = file, mask
        file.watchers[self, descriptor] = None
        self.candidates[descriptor] = None
        if self.waiter is not None:
            self._kernel.wake(self.waiter)

    def modify(self, which: Any, mask: int) -> None:
        """EPOLL_CTL_MOD."""
        descriptor = number_of(which)
        if descriptor not in self._interest:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self._interest[descriptor] = self._interest[descriptor][0], mask
        self.notice(descriptor)

    def unregister(self, which: Any) -> None:
        """EPOLL_CTL_DEL."""
        descriptor = which if type(which) is int else number_of(which)
        known = self._interest.pop(descriptor, None)
        if known is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.candidates.pop(descriptor, None)
        known[0].watchers.pop((self, descriptor), None)

    def forget(self, descriptor: int, file: File) -> None:
        """A closed file leaves the set by itself (epoll(7))."""
        if self._interest.get(descriptor, (None,))[0] is file:
            del self._interest[descriptor]
            self.candidates.pop(descriptor, None)
        file.watchers.pop((self, descriptor), None)

    def notice(self, descriptor: int) -> None:
        """A file may have become ready."""
        self.candidates[descriptor] = None
        waiter = self.waiter
        if waiter is not None:
            self._kernel.wake(waiter)

    def _ready(self) -> list[tuple[int, int]]:
        ready = []
        for descriptor in list(self.candidates):
            file, mask = self._interest[descriptor]
            events = file.events() & (mask | ERR | HUP)
            if events:
                ready.append((descriptor, events))
            else:
                del self.candidates[descriptor]
        return ready

    def poll(self, timeout: float | None = -1, maxevents: int = -1) -> list[tuple[int, int]]:  # noqa: ARG002
        """Wait until something is ready; `timeout` in seconds, none or a negative one waits for ever."""
        kernel = self._kernel
        ready = self._ready()
        if timeout == 0:
            return ready
        if ready:
            return self._once_more(ready)
        deadline_ns = None if timeout is None or timeout < 0 else kernel.due_ns(timeout)
        while True:
            self.waiter = running_thread()
            try:
                woken = kernel.park(deadline_ns, "its connections and timers")
            finally:
                self.waiter = None
            ready = self._ready()
            if ready or not woken:
                return ready

    def _once_more(self, ready: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The answer, unless it is the same again and again: a loop that leaves it so spins, and that takes time.

        kombu before 5.7 does so while a worker that may not take another message has one from Redis before it.
        """
        kernel, now_ns = self._kernel, self._kernel.agenda.now_ns
        if ready != self._answer or now_ns != self._answered_ns:
            self._answer, self._answered_ns, self._same = ready, now_ns, 0
            return ready
        self._same += 1
        if self._same < FREE_ANSWERS:
            return ready
        kernel.park(kernel.now_ns + TURN_NS, "its loop to spin once more")
        self._answered_ns = kernel.now_ns
        return self._ready()

    def close(self) -> None:
        """The set is empty."""
        for descriptor, (file, _) in list(self._interest.items()):
            self.forget(descriptor, file)

    def fileno(self) -> int:
        """Not a descriptor that anybody may use."""
        return -1


def wait_for(system: Descriptors, files: list[tuple[File, int]], timeout: float | None) -> list[int]:
    """poll(2): the events of each file, in order; waits until one has any or `timeout` seconds have passed."""
    kernel = system.kernel
    kernel.start()
    deadline_ns = None if timeout is None or timeout < 0 else kernel.due_ns(timeout)
    while True:
        events = [file.events() & (mask | ERR | HUP) for file, mask in files]
        if any(events) or (deadline_ns is not None and kernel.now_ns >= deadline_ns):
            return events
        thread = running_thread()
        for file, _ in files:
            file.waiters[thread] = None
        try:
            kernel.park(deadline_ns, "something to come over its connections")
        finally:
            for file, _ in files:
                file.waiters.pop(thread, None)


class Poll:
    """select.poll; a closed descriptor gives POLLNVAL, real ones are looked at without waiting."""

    def __init__(self, system: Descriptors, real: Callable[[], Any]) -> None:
        self._system, self._real = system, real
        self._masks: dict[int, int] = {}

    def register(self, descriptor: Any, mask: int = IN) -> None:
        """Watch a descriptor, or an object with `fileno`."""
        self._masks[descriptor if type(descriptor) is int else descriptor.fileno()] = mask

    modify = register

    def unregister(self, descriptor: Any) -> None:
        """No longer watch it."""
        del self._masks[descriptor if type(descriptor) is int else descriptor.fileno()]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """`timeout` is in milliseconds, as select.poll has it."""
        system = self._system
        simulated = {fd: mask for fd, mask in self._masks.items() if fd >= FIRST_DESCRIPTOR}
        outside = {fd: mask for fd, mask in self._masks.items() if fd < FIRST_DESCRIPTOR}
        if outside:
            poller = self._real()
            for fd, mask in outside.items():
                poller.register(fd, mask)
            if not simulated:
                found: list[tuple[int, int]] = poller.poll(timeout)
                return found
            found = poller.poll(0)
            if found:
                return found
        gone = [(fd, NVAL) for fd in simulated if not system.has(fd)]
        open_ones = [fd for fd in simulated if system.has(fd)]
        seconds = 0 if gone else None if timeout is None else timeout / 1000
        events = wait_for(system, [(system.file(fd), simulated[fd]) for fd in open_ones], seconds)
        return gone + [(fd, seen) for fd, seen in zip(open_ones, events, strict=True) if seen]


def select_files(
    system: Descriptors, real: Callable[..., Any], asked: tuple[Iterable[Any], ...], timeout: float | None
) -> tuple[list[Any], list[Any], list[Any]]:
    """select(2): those that can be read, written and have something urgent, out of three lists of them.

    Args:
        real: select.select, for real descriptors; where there are both kinds these are looked at without waiting.
    """
    if timeout is not None and timeout < 0:
        raise ValueError("timeout must be non-negative")  # select.select's own words
    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    lists = [[(one, number_of(one)) for one in ones] for ones in asked]
    outside = [[one for one, number in ones if number < FIRST_DESCRIPTOR] for ones in lists]
    inside = [(kind, one, number) for kind in (0, 1) for one, number in lists[kind] if number >= FIRST_DESCRIPTOR]
    if any(outside):
        found = real(*outside, 0 if inside else timeout)
        if not inside or any(found):
            return found
    masks = (IN | HUP | ERR, OUT | ERR)
    files = [(system.file(number), masks[kind]) for kind, _, number in inside]
    for (kind, one, _), seen in zip(inside, wait_for(system, files, timeout), strict=True):
        if seen & masks[kind]:
            found[kind].append(one)
    return found
