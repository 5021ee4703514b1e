"""A trace for the terminal: the timeline, a summary of it, and the last events before a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasksim.events import (
    Delivered,
    Dropped,
    Event,
    Expired,
    Failed,
    Fault,
    Published,
    Redelivered,
    Retried,
    Revoked,
    Started,
    Succeeded,
)
from tasksim.trace.lines import Names, seconds, table, timeline
from tasksim.trace.log import Trace
from tasksim.trace.query import LOST

__all__ = ["last_events", "summary", "timeline"]

#: What is always said, then what is said only if it happened.
_ALWAYS: dict[type[Event], str] = {Published: "published", Delivered: "delivered"}
_COUNTED: dict[type[Event], str] = {
    Redelivered: "redelivered",
    Started: "started",
    Succeeded: "succeeded",
    Failed: "failed",
    Retried: "retried",
    Revoked: "revoked",
    Expired: "expired",
    Dropped: "dropped",
}


def summary(trace: Sequence[Event]) -> str:
    """What happened, in numbers: messages and tasks, virtual seconds, and each fault on a line of its own.

    Args:
        trace: a trace, or any sequence of events.
    """
    counted = Counter(type(event) for event in trace)
    whole = trace if isinstance(trace, Trace) else Trace(trace)
    lost = sum(attempt.state == LOST for attempt in whole.attempts)
    parts = [f"{counted[kind]} {word}" for kind, word in _ALWAYS.items()]
    parts += [f"{counted[kind]} {word}" for kind, word in _COUNTED.items() if counted[kind]]
    if lost:
        parts.append(f"{lost} lost with their process" if lost > 1 else "1 lost with its process")
    duration = max(0.0, trace[-1].time) if trace else 0.0
    faults = [event for event in trace if isinstance(event, Fault)]
    lines = [", ".join(parts) + f"; {seconds(duration)} virtual seconds"]
    lines += [f"fault at {seconds(fault.time)}: {fault.kind} {fault.target}".rstrip() for fault in faults]
    return "\n".join(lines)


def last_events(
    trace: Sequence[Event],
    per_process: int = 5,
    limit: int = 40,
    *,
    width: int = 100,
    whole: Sequence[Event] | None = None,
) -> str:
    """The last events of each process, in order, as lines like those of the timeline.

    Args:
        trace: a trace, or any sequence of events.
        per_process: how many of each process.
        limit: how many at most; the latest are kept.
        width: longest line, in letters.
        whole: all events, where `trace` is a choice of them; for the short forms of names and ids.
    """
    seen: Counter[str] = Counter()
    kept: list[Event] = []
    for event in reversed(trace):
        if len(kept) == limit:
            break
        if seen[event.process] < per_process:
            seen[event.process] += 1
            kept.append(event)
    rows = table(kept[::-1], Names(trace if whole is None else whole), width)
    return "\n".join(rows) if rows else "(no events)"
