"""Deliveries that wait for an acknowledgement, and what a transaction holds back of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasksim.message import Message

if TYPE_CHECKING:
    from tasksim.broker.amqp.consumer import Consumer
    from tasksim.broker.amqp.queue import Queue
    from tasksim.broker.base import Shared

__all__ = ["Transaction", "Unacked", "by_consumer", "by_queue", "count_out", "counted"]


class Unacked:
    """A delivery that waits for an acknowledgement; `consumer` is None for one that basic.get fetched."""

    __slots__ = ("consumer", "message", "number", "queue", "since_ns", "tag")

    def __init__(
        self, tag: int, number: int, message: Message, queue: Queue, consumer: Consumer | None, since_ns: int
    ) -> None:
        self.tag, self.number, self.message = tag, number, message
        self.queue, self.consumer, self.since_ns = queue, consumer, since_ns


class Transaction:
    """What a channel in tx mode holds back until tx.commit."""

    def __init__(self) -> None:
        self.published: list[tuple[Message, Iterable[Queue], bool]] = []
        #: (acked or rejected, requeue, deliveries)
        self.settled: list[tuple[bool, bool, list[Unacked]]] = []

    def restored(self, unacked: dict[int, Unacked]) -> dict[int, Unacked]:
        """What is unacknowledged when the transaction is forgotten, in the order of delivery."""
        entries = [entry for _, _, settled in self.settled for entry in settled]
        return dict(sorted([*unacked.items(), *((entry.tag, entry) for entry in entries)]))


def counted(message: Message) -> dict[str, Any]:
    """The properties of a message of a quorum queue as a client sees them: with how often it came back."""
    headers = message.properties.get("application_headers") or {}
    return {**message.properties, "application_headers": {**headers, "x-delivery-count": message.returns}}


def by_queue(entries: Iterable[Unacked]) -> dict[Queue, list[Message]]:
    """Their messages, by the queue to which they would go back."""
    back: dict[Queue, list[Message]] = {}
    for entry in entries:
        back.setdefault(entry.queue, []).append(entry.message)
    return back


def by_consumer(entries: Iterable[Unacked]) -> list[tuple[Queue, list[Unacked]]]:
    """The deliveries of each consumer, by its tag, those of basic.get first (rabbit_channel:foreach_per_queue)."""
    back: dict[tuple[bool, str | int, Queue], list[Unacked]] = {}
    for entry in entries:
        tag = entry.tag if entry.consumer is None else entry.consumer.tag
        back.setdefault((entry.consumer is not None, tag, entry.queue), []).append(entry)
    return [(key[2], back[key]) for key in sorted(back, key=lambda key: key[:2])]


def count_out(entries: Iterable[Unacked], shared: Shared) -> int:
    """Take them out of all counts but the channel's; gives how many went to consumers."""
    counted = 0
    for entry in entries:
        queue, consumer = entry.queue, entry.consumer
        if not queue.deleted:
            queue.unacked -= 1
            shared.unacked -= 1
        if consumer is not None:
            consumer.unacked -= 1
            counted += 1
            if queue.takes_over:
                queue.settled()
        else:
            queue.fetched -= 1
    return counted
