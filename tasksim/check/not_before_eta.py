"""No start before its ETA, by the clock of the worker that starts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasksim import events as e
from tasksim.check.base import Finding, Invariant, seconds

__all__ = ["NOT_BEFORE_ETA"]

_NAME = "not_before_eta"
#: An ETA is written in microseconds, and told to the worker's timer in floats.
_TOLERANCE = 0.00001


def _search(events: Sequence[e.Event]) -> Iterator[Finding]:
    waiting: dict[tuple[str, str, int], list[e.Received]] = {}
    for event in events:
        if isinstance(event, e.Received):
            waiting.setdefault((event.process, event.task_id, event.retries), []).append(event)
        elif isinstance(event, e.Started):
            # Several messages may have one id and number (S37): one of them whose time has come is meant.
            received = waiting.get((event.process.partition("/")[0], event.task_id, event.retries), [])
            told = min(received, key=lambda one: one.due or 0.0, default=None)
            if told is None:
                continue
            received.remove(told)
            if told.due is not None and event.time < told.due - _TOLERANCE:
                sentence = (
                    f"{event.task}[{event.task_id}] started at {seconds(event.time)} s, "
                    f"{seconds(told.due - event.time)} s before its ETA"
                )
                yield Finding(_NAME, sentence, (told, event), "S30")


NOT_BEFORE_ETA = Invariant(
    _NAME,
    "no task starts before its ETA by the clock of the worker that starts it",
    ("S29", "S30"),
    (
        "an ETA without a time zone is UTC, whatever its writer meant (S29)",
        "an ETA that is past when the worker receives it is no ETA any more (S30)",
    ),
    (),
    _search,
)
