"""Eager mode: a call made by the test itself returns when what it called has reached its end.

Nothing else differs from the ordinary mode: the message goes through the broker, a worker takes it, retries wait for
their backoff. Only the test's own call waits, and the clock moves past countdown, ETA and backoff meanwhile. Calls made
inside tasks publish and return, as they do in life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import celery.app.base
import celery.canvas

from tasksim.events import Acked, Dropped, Event, MessageExpired, Queued, Rejected
from tasksim.patching.table import Row
from tasksim.trace.log import Trace
from tasksim.worker.bodies import Bodies
from tasksim.worker.world import World


class Ends:
    """Which tasks have come to an end: published once, and no message of theirs is left.

    A retry, and what replaces a task, is published before the message it comes from is settled, so there is no gap.

    Attributes:
        wait: waits for the tasks of a result; set by the simulation.
    """

    def __init__(self, trace: Trace, running: Bodies) -> None:
        self._messages: Counter[str] = Counter()
        self._running = running
        self.wait: Callable[[list[str]], None] = lambda _: None
        self._depth = 0
        trace.subscribe(Queued, lambda event: self._count(event, 1))
        for kind in (Acked, MessageExpired):
            trace.subscribe(kind, lambda event: self._count(event, -1))
        trace.subscribe(Rejected, lambda event: None if event.requeue else self._count(event, -1))
        trace.subscribe(Dropped, lambda event: None if event.queue is None else self._count(event, -1))

    def _count(self, event: Event, change: int) -> None:
        task_id: str | None = getattr(event, "task_id", None)
        if task_id is not None:
            self._messages[task_id] = max(0, self._messages[task_id] + change)

    def have_come(self, task_ids: list[str]) -> bool:
        """Has each of these tasks been published, and reached its end?"""
        running = set(self._running.values())
        return all(one in self._messages and not self._messages[one] and one not in running for one in task_ids)

    def call(self, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make a call and wait for what it called; calls within a call (the links of a canvas) do not wait."""
        if self._depth:
            return real(*arguments, **options)
        self._depth += 1
        try:
            result = real(*arguments, **options)
        finally:
            self._depth -= 1
        task_ids = last_ids(result)
        if task_ids:
            self.wait(task_ids)
        return result


def last_ids(result: Any) -> list[str]:
    """The ids whose ends are waited for: a chain's last link, each member of a group, a chord's body."""
    members = getattr(result, "results", None)
    if members is not None:
        return [task_id for member in members for task_id in last_ids(member)]
    task_id = getattr(result, "id", None)
    return [task_id] if isinstance(task_id, str) else []


def _waiting(owner: Any, name: str) -> Callable[[World], object]:
    def make(world: World) -> object:
        real, kernel, ends = getattr(owner, name), world.kernel, world.ends

        def call(*arguments: Any, **options: Any) -> Any:
            if ends is None or kernel.process_of_caller() is not kernel.driver:
                return real(*arguments, **options)
            return ends.call(real, *arguments, **options)

        return call

    return make


_WHY = "in eager mode the test's own call waits for the end of what it called"

ROWS = (
    Row("celery.app.base:Celery.send_task", _WHY, _waiting(celery.app.base.Celery, "send_task")),
    Row("celery.canvas:_chain.apply_async", _WHY, _waiting(celery.canvas._chain, "apply_async")),
    Row("celery.canvas:group.apply_async", _WHY, _waiting(celery.canvas.group, "apply_async")),
    Row("celery.canvas:_chord.apply_async", _WHY, _waiting(celery.canvas._chord, "apply_async")),
)
