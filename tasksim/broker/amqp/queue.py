"""A queue: who is next, in which order, and what becomes of messages that wait too long or are too many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasksim.broker.amqp.consumer import Consumer, Subscribers
from tasksim.broker.amqp.dead_letters import dead_letter
from tasksim.broker.amqp.overflow import Publishers
from tasksim.broker.amqp.ready import Ready
from tasksim.broker.base import MILLISECOND
from tasksim.broker.snapshot import QueueRow
from tasksim.events import Dropped, MessageExpired, Queued, Requeued
from tasksim.message import Message

if TYPE_CHECKING:
    from tasksim.broker.amqp.connection import ServerConnection
    from tasksim.broker.amqp.exchange import Exchange
    from tasksim.broker.amqp.vhost import VirtualHost

__all__ = ["Queue"]

#: Quorum queues drop what came back more often (docs "quorum-queues": 20 since 4.0, no limit before).
_DELIVERY_LIMIT = 20


class Queue(Subscribers):
    """A queue.

    Attributes:
        owner: the connection that alone may use it; None for any.
        ready: how many messages wait.
        unacked: how many are with consumers.
        incoming: exchanges that have a binding to this queue.
        leaving: cancelled consumers of a quorum queue that held messages.
        fetched: deliveries by basic.get that are not acknowledged.
    """

    def __init__(
        self,
        name: str,
        vhost: VirtualHost,
        *,
        durable: bool = False,
        owner: ServerConnection | None = None,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        arguments = arguments or {}
        self.name, self.vhost, self.shared = name, vhost, vhost.shared
        self.quorum = arguments.get("x-queue-type") == "quorum"
        super().__init__(
            single_active=bool(arguments.get("x-single-active-consumer")),
            in_turn=self.quorum and self.shared.version < (4, 0),
            takes_over=self.quorum and self.shared.version >= (4, 0),
        )
        self.durable, self.owner, self.auto_delete = durable, owner, auto_delete
        self.arguments = arguments
        self._read_arguments(arguments)
        self.ready = self.unacked = self.fetched = 0
        self.incoming: dict[Exchange, None] = {}
        self.leaving: list[Consumer] = []
        self.deleted = False
        self._running = self._expiring = False
        self._expiry: Any = None
        self._lease: Any = None
        self.touch()

    def _read_arguments(self, arguments: dict[str, Any]) -> None:
        self.ttl_ns = _scaled(arguments.get("x-message-ttl"))
        self.lease_ns = _scaled(arguments.get("x-expires"))
        self.max_length: int | None = arguments.get("x-max-length")
        self.max_bytes: int | None = arguments.get("x-max-length-bytes")
        self.bounded = self.max_length is not None or self.max_bytes is not None
        self.overflow: str = arguments.get("x-overflow", "drop-head")
        self.dead_letter_exchange: str | None = arguments.get("x-dead-letter-exchange")
        self.dead_letter_key: str | None = arguments.get("x-dead-letter-routing-key")
        refuses = self.bounded and self.overflow != "drop-head"
        self.publishers = Publishers(self) if refuses and self.quorum else None
        self.consumer_timeout_ns = _scaled(arguments.get("x-consumer-timeout"))
        limit = _DELIVERY_LIMIT if self.shared.version >= (4, 0) else -1
        self.delivery_limit: int = arguments.get("x-delivery-limit", limit)
        priorities = arguments.get("x-max-priority") or 0
        self._messages = Ready(priorities, self.quorum, self.quorum and self.shared.version >= (4, 0))

    def __repr__(self) -> str:
        return f"<queue {self.name!r} {self.ready} ready, {self.unacked} unacked>"

    def row(self) -> QueueRow:
        """The queue at this instant."""
        counts = self.ready, self.unacked, len(self.consumers)
        return QueueRow(self.name, *counts, self.durable, self.owner is not None, self.vhost.name)

    # --- messages in

    def publish(self, message: Message, publisher: object = None) -> bool:
        """Take a message in and hand on what can be handed on; False if the queue is full and refuses."""
        if self.publishers is not None:
            if not self.publishers.admits(publisher):
                self.drop(message, "maxlen")
                return False
        elif self.bounded and self.overflow != "drop-head" and self.too_many(1, len(message.body)):
            # docs "maxlength", "Overflow behaviour"
            if self.overflow != "reject-publish-dlx" or not dead_letter(self, message, "maxlen"):
                self.drop(message, "maxlen")
            return False
        if self.ttl_ns is not None or message.expiration_ms is not None:
            self._stamp(message)
        self._messages.put(message)
        self.ready += 1
        if message.number:
            shared = self.shared
            shared.record_often(Queued(shared.now(), "broker", message.number, self.name, message.task_id))
        if self.ring:
            self.run()
        if self.publishers is not None:
            self.publishers.look()
        # What has expired is looked for when the new one stands at the head, or the head has been dropped
        # (rabbit_amqqueue_process:deliver_or_enqueue); in a priority queue one that overtakes others waits.
        if self.ready and (self._drop_heads() or self.ready == 1) and self._expiring:
            self.expire()
        return True

    def requeue(self, messages: list[Message], reason: str) -> None:
        """Put messages back; the caller lets the queue run afterwards."""
        shared, back = self.shared, []
        for message in messages:
            if self.deleted:
                self.drop(message, "queue deleted")
                continue
            message.redelivered = True
            if self.quorum and self._came_back_too_often(message):
                if not dead_letter(self, message, "delivery_limit"):
                    self.drop(message, "delivery_limit")
                continue
            back.append(message)
            shared.record(Requeued(shared.now(), "broker", message.number, self.name, reason, message.task_id))
        if back:
            self._messages.put_back(back)
            self.ready += len(back)
            if not self.quorum:
                self._trim()

    def _came_back_too_often(self, message: Message) -> bool:
        # docs "quorum-queues", "Poison message handling"
        message.returns += 1
        return 0 <= self.delivery_limit < message.returns

    # --- messages out

    def pop(self) -> Message:
        """The next message; there must be one."""
        self.ready -= 1
        message = self._messages.pop()
        if self.publishers is not None:
            self.publishers.look_again()
        return message

    def run(self) -> None:
        """Hand messages to consumers, in turn, while there are both."""
        if self._running:
            return  # a consumer has answered within its delivery; the loop below goes on
        self._running = True
        try:
            ring = self.ring
            while self.ready and ring:
                consumer = ring.popleft()
                channel = consumer.channel
                if channel.full or (consumer.prefetch and consumer.unacked >= consumer.prefetch):
                    channel.blocked[consumer] = None
                    continue
                message = self.pop()
                self.enter(consumer)
                channel.deliver(consumer, self, message)
                if self._expiring:
                    self.expire()
        finally:
            self._running = False
        if self.quorum and self.ready:
            self._trim()  # it hands on before it looks at its limits (rabbit_fifo:checkout, evaluate_limit)

    def purge(self, reason: str) -> int:
        """Drop what is ready; what is with consumers stays with them (docs "queues", purge)."""
        dropped = self.ready
        while self.ready:
            self.drop(self.pop(), reason)
        self._await_expiry(None)
        return dropped

    # --- consumers

    def add_consumer(self, consumer: Consumer) -> None:
        """A consumer subscribes."""
        self.subscribe(consumer)
        if self.acking:
            self.shared.served[self] = None
        self.touch()
        self.run()

    def remove_consumer(self, consumer: Consumer) -> None:
        """A consumer is gone; whoever removes it asks `abandoned` afterwards."""
        self.unsubscribe(consumer)
        if not self.acking:
            self.shared.served.pop(self, None)
        self.touch()

    def count_consumers(self) -> int:
        """As queue.declare-ok tells it.

        A quorum queue counts what stands in its table (rabbit_fifo:query_stat): of a single active consumer's queue
        only that one, and besides those that are cancelled, or fetched with basic.get, and still hold messages.
        """
        number = len(self.consumers)
        if not self.quorum:
            return number
        if self.single_active:
            number = min(number, 1)
        return number + self.fetched + sum(1 for one in self.leaving if one.unacked)

    @property
    def abandoned(self) -> bool:
        """An auto-delete queue whose last consumer has gone (spec queue.declare.auto-delete)."""
        return self.auto_delete and self.had_consumers and not self.consumers and not self.deleted

    # --- its end

    def touch(self) -> None:
        """The queue is used: its lease (x-expires; docs "ttl", "Queue TTL") begins anew."""
        if self.lease_ns is None:
            return
        timers = self.shared.timers
        if self._lease is not None:
            timers.cancel(self._lease)
            self._lease = None
        if not self.consumers and not self.deleted and self.shared.running:
            self._lease = timers.at(timers.now_ns + self.lease_ns, self.delete, "queue expired")

    def delete(self, reason: str = "queue deleted", told: Callable[[int], None] | None = None) -> None:
        """Delete the queue.

        Args:
            reason: as events give it.
            told: called with the number of messages that were ready, before the consumers hear of it: RabbitMQ answers
                the client that deletes, and channels learn from the end of the queue's process (rabbit_channel:
                handle_consuming_queue_down_or_eol).
        """
        self.deleted = True
        self.vhost.remove_queue(self)
        if self.owner is not None:
            self.owner.exclusive.pop(self, None)
        left = list(self.consumers)
        for consumer in left:
            self.remove_consumer(consumer)
        dropped = self.purge(reason)
        self.shared.unacked -= self.unacked
        self.unacked = 0
        self.touch()
        if told is not None:
            told(dropped)
        for consumer in left:
            consumer.channel.cancelled_by_server(consumer)

    def go_down(self, lost_from_ns: int | None = None, reason: str = "server restarted") -> None:
        """The server stops: keep what is persistent (docs "queues", "Durability"); a quorum queue keeps all.

        Args:
            lost_from_ns: what was published from then on and not confirmed had not reached the disk.
            reason: as events give it.
        """
        self._await_expiry(None)
        self.touch()
        for message in self._messages.pop_all(lambda one: self._goes(one, lost_from_ns)):
            self.ready -= 1
            self.drop(message, reason)

    def _goes(self, message: Message, lost_from_ns: int | None) -> bool:
        if not (self.quorum or message.persistent):
            return True
        since_ns = message.unconfirmed_ns
        return since_ns is not None and lost_from_ns is not None and since_ns >= lost_from_ns

    def come_up(self) -> None:
        """The server runs again."""
        self.touch()
        self._trim()

    # --- too long, too many

    def _stamp(self, message: Message) -> None:
        # docs "ttl": the lower of the queue's and the message's own time to live.
        own_ns = _scaled(message.expiration_ms)
        message.expires_ns = self.shared.timers.now_ns + min(ns for ns in (own_ns, self.ttl_ns) if ns is not None)
        self._expiring = True

    def _trim(self) -> None:
        self._drop_heads()
        if self._expiring:
            self.expire()

    def _drop_heads(self) -> bool:
        """docs "maxlength": from the front, which is where the oldest are."""
        dropped = False
        if self.bounded and self.overflow == "drop-head":
            while self.too_many():
                message, dropped = self.pop(), True
                if not dead_letter(self, message, "maxlen"):
                    self.drop(message, "maxlen")
        return dropped

    def too_many(self, more: int = 0, more_bytes: int = 0) -> bool:
        """More would be ready than the queue may hold."""
        if self.max_length is not None and self.ready + more > self.max_length:
            return True
        return self.max_bytes is not None and self._messages.count_bytes() + more_bytes > self.max_bytes

    def is_below(self, part: float) -> bool:
        """No more is ready than this part of what the queue may hold."""
        if self.max_length is not None and self.ready > int(self.max_length * part):
            return False
        return self.max_bytes is None or self._messages.count_bytes() <= int(self.max_bytes * part)

    def expire(self) -> None:
        """Drop or dead-letter what has been at the head for too long."""
        shared = self.shared
        while (message := self._messages.pop_expired(shared.timers.now_ns)) is not None:
            self.ready -= 1
            if self.publishers is not None:
                self.publishers.look_again()
            shared.record(MessageExpired(shared.now(), "broker", message.number, self.name, message.task_id))
            dead_letter(self, message, "expired")
        self._await_expiry(self._messages.next_end_ns())

    def _await_expiry(self, due_ns: int | None) -> None:
        timers = self.shared.timers
        if self._expiry is not None:
            timers.cancel(self._expiry)
            self._expiry = None
        if due_ns is None or not self.shared.running:
            self.shared.flowing.pop(self, None)
            return
        if self.dead_letter_exchange is not None:
            self.shared.flowing[self] = None
        self._expiry = timers.at(due_ns, self.expire)

    def reject(self, message: Message) -> None:
        """A consumer does not want it back in the queue."""
        dead_letter(self, message, "rejected")

    def drop(self, message: Message, reason: str) -> None:
        """A message is lost for good."""
        shared = self.shared
        shared.record(Dropped(shared.now(), "broker", message.number, self.name, reason, message.task_id))


def _scaled(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds * MILLISECOND
