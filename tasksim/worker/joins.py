"""Who waits in a result's `get()` without a time-out, and for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import celery.result

from tasksim.kernel.process import Process, running_thread
from tasksim.patching.table import Row
from tasksim.worker.world import World

__all__ = ["ROWS", "Joins", "has_time_limit", "parts", "slots"]

#: A thread of a process.
Waiter = tuple[Process, Any]


class Joins:
    """Waits that only a result can end."""

    def __init__(self) -> None:
        self._waits: dict[Waiter, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def items(self) -> list[tuple[Waiter, Any]]:
        """Who waits, and the result or the set of results that each waits for."""
        for waiter in [one for one in self._waits if one[0].dead]:
            del self._waits[waiter]  # a process that is killed says nothing
        return list(self._waits.items())

    def wait(self, process: Process, result: Any, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Wait with Celery's own method; a wait within a wait is what is waited for meanwhile."""
        waiter = process, running_thread()
        outer = self._waits.get(waiter)
        self._waits[waiter] = result
        try:
            return real(result, *arguments, **options)
        finally:
            if outer is None:
                self._waits.pop(waiter, None)
            else:
                self._waits[waiter] = outer


def parts(result: Any) -> Iterator[Any]:
    """What must come before this can: the members of a set, what comes before a link of a chain."""
    yield from getattr(result, "results", None) or ()
    parent = getattr(result, "parent", None)
    if parent is not None:
        yield parent


def slots(consumer: Any) -> int:
    """How many tasks a worker's pool may run at once, at most: an autoscaler may let it grow."""
    scaler = getattr(consumer.controller, "autoscaler", None)
    return max(int(consumer.pool.num_processes or 1), int(getattr(scaler, "max_concurrency", 0) or 0))


def has_time_limit(consumer: Any, task_id: str) -> bool:
    """Will a time limit end this task, which this worker has given to its pool?"""
    jobs = getattr(getattr(consumer.pool, "_pool", None), "_cache", None) or {}
    return any(job._timeout or job._soft_timeout for job in list(jobs.values()) if job.correlation_id == task_id)


def _watched(real: Any) -> Callable[[World], object]:
    def make(world: World) -> object:
        joins, kernel = world.joins, world.kernel

        def get(self: Any, timeout: Any = None, *arguments: Any, **options: Any) -> Any:
            if timeout is not None:
                return real(self, timeout, *arguments, **options)
            return joins.wait(kernel.process_of_caller(), self, real, timeout, *arguments, **options)

        return get

    return make


_WHY = "notes who waits for a result, to name those who wait for one another; Celery's own method does the waiting"

ROWS = (
    Row("celery.result:AsyncResult.get", _WHY, _watched(celery.result.AsyncResult.get)),
    Row("celery.result:ResultSet.join_native", _WHY, _watched(celery.result.ResultSet.join_native)),
)
