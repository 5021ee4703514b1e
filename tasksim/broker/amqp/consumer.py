"""A consumer of one queue, on one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasksim.broker.amqp.channel import Channel
    from tasksim.broker.amqp.queue import Queue

__all__ = ["Consumer"]


class Consumer:
    """A consumer.

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
