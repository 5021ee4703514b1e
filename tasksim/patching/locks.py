"""Locks that park: what `threading.Lock()` and `threading.RLock()` make inside a simulation."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any

from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import running_thread

#: Of the real locks: the type of `threading.Lock()` and that of `threading.RLock()`.
REAL_LOCK, REAL_RLOCK = type(_thread.allocate_lock()), _thread.RLock


class ParkingLock:
    """A lock. Its state is a real lock's, so it works on when its simulation is over, and in other OS threads."""

    __slots__ = ("__weakref__", "_inside", "_kernel", "_real", "_waiters")

    def __init__(self, kernel: Kernel, inside: Callable[[], bool]) -> None:
        self._kernel, self._inside = kernel, inside
        self._real = _thread.allocate_lock()
        self._waiters: dict[Any, None] = {}

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As threading.Lock.acquire; `timeout` in seconds."""
        if timeout != -1 and not (blocking and timeout >= 0):
            return self._real.acquire(blocking, timeout)  # it says what is wrong
        if self._real.acquire(False):
            return True
        if not blocking or timeout == 0:
            return False
        kernel = self._kernel
        if kernel.closed or not self._inside():
            return self._real.acquire(True, timeout)
        deadline_ns = None if timeout < 0 else kernel.due_ns(timeout)
        while not self._real.acquire(False):
            if deadline_ns is not None and kernel.now_ns >= deadline_ns:
                return False
            kernel.wait_in(self._waiters, deadline_ns, "a lock")
        return True

    def release(self) -> None:
        """As threading.Lock.release: who has waited longest may go on."""
        self._real.release()
        if self._waiters:
            self._kernel.wake(next(iter(self._waiters)))

    def locked(self) -> bool:
        """Is it held?"""
        return self._real.locked()

    # threading.Condition would find it out by trying to take the lock.
    _is_owned = locked

    def _at_fork_reinit(self) -> None:
        self._real = _thread.allocate_lock()
        self._waiters = {}

    # Written out: Celery's queues and caches take a free lock ten times a task.

    def __enter__(self) -> bool:
        return self._real.acquire(False) or self.acquire()

    def __exit__(self, *_: object) -> None:
        self._real.release()
        if self._waiters:
            self._kernel.wake(next(iter(self._waiters)))

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} lock of a simulation at {id(self):#x}>"


class ParkingRLock:
    """A reentrant lock; its owner is a simulated thread."""

    __slots__ = ("__weakref__", "_count", "_lock", "_owner")

    def __init__(self, kernel: Kernel, inside: Callable[[], bool]) -> None:
        self._lock = ParkingLock(kernel, inside)
        self._owner: Any = None
        self._count = 0

    def _me(self) -> Any:
        return running_thread()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As threading.RLock.acquire; `timeout` in seconds."""
        me = running_thread()
        if self._owner is me:
            self._count += 1
            return True
        lock = self._lock
        if timeout != -1 and not (blocking and timeout >= 0):
            return lock.acquire(blocking, timeout)
        if not lock._real.acquire(False) and not lock.acquire(blocking, timeout):
            return False
        self._owner, self._count = me, 1
        return True

    def release(self, *_: object) -> None:
        """As threading.RLock.release."""
        if self._owner is not running_thread():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            lock = self._lock
            lock._real.release()  # as ParkingLock.release; clients of Redis do this 27 times a task
            if lock._waiters:
                lock._kernel.wake(next(iter(lock._waiters)))

    __enter__, __exit__ = acquire, release

    def __repr__(self) -> str:
        return f"<reentrant lock of a simulation, held {self._count} times, at {id(self):#x}>"

    # What threading.Condition asks of a reentrant lock.

    def _is_owned(self) -> bool:
        return self._owner is running_thread()

    def _release_save(self) -> tuple[int, Any]:
        state = self._count, self._owner
        self._count, self._owner = 0, None
        self._lock.release()
        return state

    def _acquire_restore(self, state: tuple[int, Any]) -> None:
        self._lock.acquire()
        self._count, self._owner = state

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._owner, self._count = None, 0
