"""billiard's semaphores and its queue on the simulated Unix: what processes share, and what a fork makes anew."""

from __future__ import annotations

import types
from typing import Any

import billiard.queues
import billiard.synchronize

from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import running_thread
from tasksim.patching.table import Row
from tasksim.worker.world import World

#: billiard's kind of a lock that its owner may take again; the other one is an ordinary semaphore.
RECURSIVE = 0


class ParkingSemaphore:
    """A semaphore that all processes of the world share, as `_billiard.SemLock` shares it over a fork.

    Whoever dies with it keeps it, as in life.

    Args:
        kind: `RECURSIVE` or not.
        value: how often it can be taken now.
        maxvalue: how often at most.
    """

    def __init__(self, kernel: Kernel, kind: int, value: int, maxvalue: int) -> None:
        self._kernel = kernel
        self.kind, self.maxvalue, self._value = kind, maxvalue, value
        self.handle, self.name = id(self), None
        self._owner: Any = None
        self._times = 0
        self._waiters: dict[Any, None] = {}

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it; `timeout` in seconds."""
        me = running_thread()
        if self.kind == RECURSIVE and self._owner is me:
            self._times += 1
            return True
        kernel = self._kernel
        deadline_ns = None if timeout is None else kernel.due_ns(max(0.0, timeout))
        while not self._value:
            if not block or (deadline_ns is not None and kernel.now_ns >= deadline_ns):
                return False
            kernel.wait_in(self._waiters, deadline_ns, "a semaphore")
        self._value -= 1
        self._owner, self._times = me, 1
        return True

    def release(self) -> None:
        """Give it back.

        Raises:
            AssertionError: a recursive one by somebody who does not own it.
            ValueError: more often than it can be taken.
        """
        if self.kind == RECURSIVE:
            if self._owner is not running_thread():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            self._times -= 1
            if self._times:
                return
        elif self._value >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        self._owner = None
        self._value += 1
        if self._waiters:
            self._kernel.wake(next(iter(self._waiters)))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # What billiard's Lock, Condition and Queue ask of it.

    def _get_value(self) -> int:
        return self._value

    def _is_zero(self) -> bool:
        return not self._value

    def _is_mine(self) -> bool:
        return self._owner is running_thread()

    def _count(self) -> int:
        return self._times if self._is_mine() else 0

    def _after_fork(self) -> None:
        """Nothing: it is shared."""


def _semaphores(world: World) -> object:
    kernel = world.kernel

    def make(kind: int, value: int, maxvalue: int, *_: object) -> ParkingSemaphore:
        return ParkingSemaphore(kernel, kind, value, maxvalue)

    return types.SimpleNamespace(SemLock=make)


def _queue_init(world: World) -> object:
    real = billiard.queues.Queue.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        world.kernel.cells.adopt(world.kernel.current, self, fork=_forked_queue)

    return init


def _forked_queue(parent: dict[str, Any]) -> dict[str, Any]:
    """A queue as a child has it: the same pipe, but a buffer of its own and nobody who feeds it yet."""
    queue: Any = object.__new__(billiard.queues.Queue)
    child: dict[str, Any] = vars(queue)
    child.update(parent)
    queue._after_fork()
    return child


ROWS = (
    Row("billiard.synchronize:_billiard", "a real semaphore would block all processes at once", _semaphores),
    Row("billiard.queues:Queue.__init__", "a fork makes its buffer and its feeding thread anew", _queue_init),
)
