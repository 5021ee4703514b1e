"""Which message came of which request for a retry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasksim import events as e

__all__ = ["retries"]


def retries(events: Iterable[e.Event]) -> Iterator[tuple[e.RetryAsked, e.Published]]:
    """Each request for a retry with the message that it publishes, in the order of the messages."""
    asked: dict[tuple[str, str], e.RetryAsked] = {}
    for event in events:
        if isinstance(event, e.RetryAsked):
            asked[event.process, event.task_id] = event
        elif isinstance(event, e.Finished):
            asked.pop((event.process, event.task_id), None)
        elif isinstance(event, e.Published) and (event.process, event.task_id or "") in asked:
            yield asked.pop((event.process, event.task_id or "")), event
