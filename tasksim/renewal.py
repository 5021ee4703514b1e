"""Work that renews itself without end, while the test waits for the end of all work.

A task that retries without a limit or calls itself again, and a message that is put back each time: there is always
something to do, so a wait for the end would last for ever.
"""

from __future__ import annotations

from collections import Counter

from tasksim.events import Finished, ProcessEnded, Published, Redelivered, Started
from tasksim.trace.log import Trace

__all__ = ["Renewal"]


class Renewal:
    """Counts, from the beginning of a wait, how often a message comes again and how long lines of descent are.

    Args:
        most: how often is too often.
    """

    def __init__(self, trace: Trace, most: int) -> None:
        self._trace, self._most, self._seen = trace, most, len(trace)
        self._running: dict[str, str] = {}
        self._depths: dict[str, int] = {}
        self._again: Counter[str] = Counter()

    def look(self) -> str | None:
        """What renews itself, as a sentence; None if nothing does."""
        new, self._seen = self._trace[self._seen :], len(self._trace)
        for event in new:
            found = None
            if isinstance(event, Started):
                self._running[event.process] = event.task_id
            elif isinstance(event, Finished | ProcessEnded):
                self._running.pop(event.process, None)
            elif isinstance(event, Published):
                found = self._published(event)
            elif isinstance(event, Redelivered):
                found = self._redelivered(event)
            if found is not None:
                return found
        return None

    def _published(self, event: Published) -> str | None:
        task_id = event.task_id
        if task_id is None:
            return None
        by = self._running.get(event.process, task_id if event.retries else None)
        if by is None:
            return None
        depth = self._depths[task_id] = self._depths.get(by, 0) + 1
        if depth < self._most:
            return None
        if by == task_id:
            return f"{event.task}[{task_id}] has been retried {depth:,} times"
        return f"{event.task}[{task_id}] is the {depth:,}th in a line of tasks of which each has called the next"

    def _redelivered(self, event: Redelivered) -> str | None:
        name = f"{event.task}[{event.task_id}]"
        self._again[name] += 1
        count = self._again[name]
        return f"{name} has been delivered again {count:,} times" if count >= self._most else None
