"""Unacknowledged deliveries never above the prefetch count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasksim import events as e
from tasksim.check.base import Finding, Invariant

__all__ = ["UNACKED_WITHIN_PREFETCH"]

_NAME = "unacked_within_prefetch"


class _Window(NamedTuple):
    """What the count holds for: a channel, or its consumer of one queue."""

    channel: int
    queue: str | None


def _search(events: Sequence[e.Event]) -> Iterator[Finding]:
    held: dict[_Window, dict[int, e.Delivered]] = {}  # by message
    where: dict[int, tuple[_Window, int]] = {}  # by delivery
    for event in events:
        if isinstance(event, e.Delivered) and event.channel is not None:
            window = _Window(event.channel, event.queue if event.per_consumer else None)
            inside = held.setdefault(window, {})
            inside[event.message] = event
            where[event.delivery] = window, event.message
            if 0 < event.prefetch < len(inside):
                yield _finding(event, inside)
        elif isinstance(event, e.Acked | e.Rejected) and event.delivery in where:
            window, message = where.pop(event.delivery)
            held[window].pop(message, None)
        elif isinstance(event, e.Requeued) and event.reason in ("rejected", "recovered"):
            for inside in held.values():
                inside.pop(event.message, None)


def _finding(event: e.Delivered, inside: dict[int, e.Delivered]) -> Finding:
    whose = f"consumer of {event.queue}" if event.per_consumer else "channel"
    sentence = (
        f"a {whose} of {event.process} holds {len(inside)} unacknowledged messages, its prefetch is {event.prefetch}"
    )
    return Finding(_NAME, sentence, tuple(inside.values()), "S35")


UNACKED_WITHIN_PREFETCH = Invariant(
    _NAME,
    "no channel, or consumer where prefetch counts for each, is given more than its prefetch count",
    ("S35", "S36", "S37"),
    (
        "a prefetch of 0 has no limit (S35)",
        "a count that is lowered takes nothing back: what matters is the count at each delivery (S36)",
        "where prefetch counts for each consumer, a worker holds as much of each of its queues (S36)",
        "what a closed channel held is no longer held, though its tasks run on (S37)",
        "a message that Redis delivers again to the same channel counts once (S39)",
    ),
    (),
    _search,
)
