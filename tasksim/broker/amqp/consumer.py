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
        single_active: only one of them, `active`, is served at a time.
        in_turn: the next one to become active is the one that subscribed first, whatever its priority.
        takes_over: one of higher priority becomes active as soon as the active one has settled what it holds.
        quiescing: the active one gets no more, because one of higher priority waits for it.
    """

    def __init__(self, *, single_active: bool, in_turn: bool = False, takes_over: bool = False) -> None:
        self.consumers: dict[Consumer, None] = {}
        self.ring: deque[Consumer] = deque()
        self.acking = 0
        self.had_consumers = False
        self.single_active, self.in_turn, self.takes_over = single_active, in_turn, single_active and takes_over
        self.quiescing = False
        self.active: Consumer | None = None

    def subscribe(self, consumer: Consumer) -> None:
        """One more."""
        self.consumers[consumer] = None
        self.had_consumers = True
        self.acking += not consumer.no_ack
        # docs "consumers", "Single active consumer": the others wait until it is their turn.
        if not self.single_active:
            self.enter(consumer)
        elif len(self.consumers) == 1:
            self.active = consumer
            self.enter(consumer)
        elif self.takes_over and self.active is not None and consumer.priority > self.active.priority:
            # rabbit_fifo:activate_next_consumer (4.x): it is "quiescing" until it holds nothing.
            self.quiescing = True
            if self.active in self.ring:
                self.ring.remove(self.active)
            self.settled()

    def settled(self) -> None:
        """Consumers hold less than before: has the active one made way for one of higher priority?"""
        if self.quiescing and self.active is not None and not self.active.unacked:
            self.quiescing = False
            self.active = self._next_active()
            self.enter(self.active)

    def may_take(self, consumer: Consumer) -> bool:
        """It is its turn, if only one has one."""
        return not self.single_active or (consumer is self.active and not self.quiescing)

    def unsubscribe(self, consumer: Consumer) -> None:
        """One less."""
        was_active = self.active is consumer
        del self.consumers[consumer]
        if consumer in self.ring:
            self.ring.remove(consumer)
        self.acking -= not consumer.no_ack
        if was_active:
            self.quiescing = False
        if self.single_active and was_active and self.consumers:
            self.active = self._next_active()
            self.enter(self.active)

    def _next_active(self) -> Consumer:
        # The one of highest priority, the first of those (rabbit_queue_consumers; rabbit_fifo before 4.0 goes by turn).
        waiting = list(self.consumers)
        return waiting[0] if self.in_turn else max(waiting, key=lambda one: one.priority)

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
