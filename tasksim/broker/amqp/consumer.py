"""Consumers, and whose turn it is."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasksim.broker.amqp.channel import Channel
    from tasksim.broker.amqp.queue import Queue

__all__ = ["Consumer", "Subscribers"]


class Consumer:
    """A consumer of one queue, on one channel.

    Attributes:
        prefetch: most unacknowledged deliveries it may hold; 0 for any number.
        unacked: how many it holds.
        priority: x-priority; 0 unless given.
    """

    __slots__ = ("channel", "exclusive", "no_ack", "prefetch", "priority", "queue", "tag", "unacked")

    def __init__(
        self, tag: str, channel: Channel, queue: Queue, *, no_ack: bool, exclusive: bool, prefetch: int, priority: int
    ) -> None:
        self.tag, self.channel, self.queue = tag, channel, queue
        self.no_ack, self.exclusive, self.prefetch, self.priority = no_ack, exclusive, prefetch, priority
        self.unacked = 0


class Subscribers:
    """The consumers of one queue.

    Attributes:
        consumers: all of them, in the order of subscribing.
        ring: those that can take a message, the next one first; a full one leaves it and comes back at its end
            (rabbit_queue_consumers).
        acking: how many of them acknowledge.
        had_consumers: there was one, at some time.
    """

    def __init__(self, *, single_active: bool) -> None:
        self.consumers: dict[Consumer, None] = {}
        self.ring: deque[Consumer] = deque()
        self.acking = 0
        self.had_consumers = False
        self._single_active = single_active

    def subscribe(self, consumer: Consumer) -> None:
        """One more."""
        self.consumers[consumer] = None
        self.had_consumers = True
        self.acking += not consumer.no_ack
        # docs "consumers", "Single active consumer": the others wait until it is their turn.
        if not self._single_active or len(self.consumers) == 1:
            self.enter(consumer)

    def unsubscribe(self, consumer: Consumer) -> None:
        """One less."""
        was_first = next(iter(self.consumers)) is consumer
        del self.consumers[consumer]
        if consumer in self.ring:
            self.ring.remove(consumer)
        self.acking -= not consumer.no_ack
        if self._single_active and was_first and self.consumers:
            self.enter(next(iter(self.consumers)))

    def enter(self, consumer: Consumer) -> None:
        """A consumer can take messages: it goes to the end of the ring, but before those of lower priority.

        docs "consumer-priority": one of lower priority gets messages only when all of higher priority are full.
        """
        ring = self.ring
        if not ring or ring[-1].priority >= consumer.priority:
            ring.append(consumer)
            return
        index = next(index for index, other in enumerate(ring) if other.priority < consumer.priority)
        ring.insert(index, consumer)
