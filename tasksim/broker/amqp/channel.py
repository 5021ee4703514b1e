"""A channel: what it has handed out, how much it may hand out, and what comes back."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.consumer import Consumer
from tasksim.broker.amqp.queue import Queue
from tasksim.broker.amqp.refusals import failed
from tasksim.broker.amqp.unacked import Transaction, Unacked, by_consumer, by_queue, count_out, counted
from tasksim.broker.base import MILLISECOND, SECOND
from tasksim.events import Acked, Delivered, Redelivered, Rejected
from tasksim.message import Message

if TYPE_CHECKING:
    from tasksim.broker.amqp.connection import ServerConnection

__all__ = ["Channel", "close_channels"]

#: How often a channel looks for deliveries that wait too long (rabbit: channel_tick_interval).
TICK_NS = 60 * SECOND


class Channel:
    """One channel of a connection.

    Attributes:
        owner: the client's process, for events.
        unacked: deliveries by delivery tag, in the order of delivery.
        blocked: consumers that cannot take a message, in the order in which they became full.
        prefetch: what basic.qos(global=False) set, for consumers to come.
        limit: what basic.qos(global=True) set, for all consumers together; 0 for any number.
        volume: deliveries to consumers that count against `limit`.
        full: `limit` is reached.
        confirming: publisher confirms are on; `published` is the last sequence number.
        declared: the queue that an empty name means (spec 1.7.2.1).
        closing: the server has closed it and waits for close-ok; all else is ignored.
        serial: its number in events; 0 until it has delivered one.
    """

    def __init__(self, connection: ServerConnection, number: int) -> None:
        self.connection, self.number = connection, number
        self.shared, self.vhost, self.owner = connection.shared, connection.vhost, connection.owner
        self.send = connection.send
        self.consumers: dict[str, Consumer] = {}
        self.unacked: dict[int, Unacked] = {}
        self.blocked: dict[Consumer, None] = {}
        self.prefetch = self.limit = self.volume = 0
        self.full = False
        self.confirming = False
        self.published = 0
        self.transaction: Transaction | None = None
        self.declared = ""
        self.closing = False
        self.serial = 0
        self._tag = 0
        self._tick: Any = None
        self._tick_from_ns = 0

    def reply(self, method: m.Method, *args: object) -> None:
        """Send a method without content."""
        self.send(self.number, method, args, None)

    # --- out

    def deliver(self, consumer: Consumer, queue: Queue, message: Message) -> None:
        """Hand a message to a consumer."""
        tag = self.hand_over(message, queue, consumer, not consumer.no_ack)
        self.send(
            self.number,
            m.BASIC_DELIVER,
            (consumer.tag, tag, message.redelivered, message.exchange, message.routing_key),
            # rabbit_fifo_client:add_delivery_count_header
            m.Content(counted(message) if message.returns else message.properties, message.body),
        )

    def hand_over(self, message: Message, queue: Queue, consumer: Consumer | None, keep: bool) -> int:
        """Account for a delivery; gives its tag (counted for each channel, spec 1.1 "delivery-tag")."""
        shared = self.shared
        if message.number:
            number = shared.serials.delivery()
            again, task_id = message.redelivered, message.task_id
            if task_id is not None:
                shared.deliveries[task_id] = number
            event = (Redelivered if again else Delivered)(
                shared.now(), self.owner, message.number, number, queue.name, task_id, message.task, again,
                *self._window(consumer),
            )  # fmt: skip
            (shared.record if again else shared.record_often)(event)
        else:
            number = 0
        self._tag = tag = self._tag + 1
        if keep:
            self.unacked[tag] = Unacked(tag, number, message, queue, consumer, shared.timers.now_ns)
            queue.unacked += 1
            shared.unacked += 1
            if consumer is not None:
                consumer.unacked += 1
                self.volume += 1
                if self.limit:
                    self.full = self.volume >= self.limit
            else:
                queue.fetched += 1
            if self._tick is None:
                self._tick_from_ns = shared.timers.now_ns
                self._set_tick()
        return tag

    def _window(self, consumer: Consumer | None) -> tuple[int | None, int, bool]:
        """For the event: the channel, how much may be unacknowledged, and whether that is the consumer's own limit."""
        if consumer is None:
            return None, 0, False
        if not self.serial:
            self.serial = self.shared.serials.channel()
        own = bool(consumer.prefetch) and not self.limit
        return self.serial, consumer.prefetch if own else self.limit, own

    # --- back

    def take(self, tag: int, multiple: bool) -> list[Unacked]:
        """The deliveries that an acknowledgement means, oldest first.

        An unknown tag closes the channel, with `multiple` too (rabbit_channel:collect_acks); 0 with `multiple` means
        all (spec basic.ack.delivery-tag).
        """
        unacked = self.unacked
        if not multiple:
            entry = unacked.pop(tag, None)
            if entry is None:
                raise failed(f"unknown delivery tag {tag}")
            return [entry]
        if tag and tag not in unacked:
            raise failed(f"unknown delivery tag {tag}")
        tags = list(takewhile(lambda one: one <= tag, unacked)) if tag else list(unacked)
        return [unacked.pop(one) for one in tags]

    def acknowledge(self, entries: list[Unacked]) -> None:
        """They are done with."""
        shared = self.shared
        for entry in entries:
            message = entry.message
            if message.number:
                shared.record_often(
                    Acked(shared.now(), self.owner, message.number, entry.number, entry.queue.name, message.task_id)
                )
        self._settle(entries, [], "")

    def reject(self, entries: list[Unacked], requeue: bool) -> None:
        """They go back to their queues, or to the dead letters.

        A dead letter arrives after its queue has handed on what it can (rabbit_amqqueue_process:subtract_acks).
        """
        shared = self.shared
        with self.vhost.letters:
            for entry in entries:
                message, queue = entry.message, entry.queue
                number, name = entry.number, queue.name
                shared.record(
                    Rejected(shared.now(), self.owner, message.number, number, name, requeue, message.task_id)
                )
                if not requeue:
                    queue.reject(message)
            self._settle(entries, by_consumer(entries) if requeue else [], "rejected")

    def recover(self) -> None:
        """All that is unacknowledged goes back (basic.recover with requeue)."""
        entries = list(self.unacked.values())
        self.unacked.clear()
        self._settle(entries, by_consumer(entries), "recovered")

    def _settle(self, entries: list[Unacked], back: list[tuple[Queue, list[Unacked]]], reason: str) -> None:
        # The order is RabbitMQ's: a consumer's own credit comes back first, then the queue takes its messages back and
        # hands them on, and then the channel's limit is eased (rabbit_amqqueue_process:subtract_acks; rabbit_channel:
        # internal_reject, notify_limiter).
        counted = 0 if back else count_out(entries, self.shared)
        run = self._unblock() if self.blocked and not back else {}
        for queue, group in back:
            counted += count_out(group, self.shared)
            run.update(self._unblock() if self.blocked else {})
            queue.requeue([entry.message for entry in group], reason)
            run.pop(queue, None)
            queue.run()
        for queue in run:
            queue.run()
        for entry in entries:
            if entry.queue.takes_over:
                entry.queue.run()
        self.volume -= counted
        if self.full:
            self.ease()

    def ease(self) -> None:
        """The channel's limit or what counts against it has changed."""
        self.full = bool(self.limit) and self.volume >= self.limit
        for queue in self._unblock():
            queue.run()

    def _unblock(self) -> dict[Queue, None]:
        # rabbit_queue_consumers:unblock puts them behind all others. Which of several queues of one channel is told
        # first RabbitMQ leaves to chance (rabbit_limiter:notify_queues); here it is the one that was full first.
        queues: dict[Queue, None] = {}
        if self.full:
            return queues
        for consumer in list(self.blocked):
            if not consumer.prefetch or consumer.unacked < consumer.prefetch:
                del self.blocked[consumer]
                if consumer.queue.may_take(consumer):
                    consumer.queue.enter(consumer)
                    queues[consumer.queue] = None
        return queues

    # --- consumers

    def cancel(self, tag: str) -> None:
        """The client cancels; what it holds it keeps, and an unknown tag is no error (spec basic.cancel)."""
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            self.blocked.pop(consumer, None)
            consumer.queue.remove_consumer(consumer)
            if consumer.queue.quorum and consumer.unacked:
                consumer.queue.leaving = [one for one in consumer.queue.leaving if one.unacked] + [consumer]
            if consumer.queue.abandoned:
                consumer.queue.delete()

    def cancelled_by_server(self, consumer: Consumer) -> None:
        """Its queue is gone (docs "consumer-cancel")."""
        self.consumers.pop(consumer.tag, None)
        self.blocked.pop(consumer, None)
        if self.connection.cancel_notify:
            self.reply(m.BASIC_CANCEL, consumer.tag, True)

    # --- deliveries that wait too long

    def _set_tick(self) -> None:
        # docs "consumers", "Delivery Acknowledgement Timeout". RabbitMQ looks every minute, counted from when the
        # channel began to be busy, whether the oldest delivery is older than the time-out; of those minutes only the
        # first that can matter is waited for here.
        oldest = next(iter(self.unacked.values()), None)
        self._tick = None
        if oldest is None:
            return
        timeout_ns = self._timeout_ns(oldest)
        if timeout_ns is not None:
            age_ns = oldest.since_ns + timeout_ns - self._tick_from_ns
            due_ns = self._tick_from_ns + (age_ns // TICK_NS + 1) * TICK_NS
            self._tick = self.shared.timers.at(due_ns, self._look_for_late_acks)

    def _timeout_ns(self, entry: Unacked) -> int | None:
        if self.shared.version >= (4, 3) and not entry.queue.quorum:
            # Release notes of 4.3: classic queues never time out, and quorum queues look themselves; for those the
            # minute is kept here.
            return None
        own = entry.queue.consumer_timeout_ns
        return self.shared.consumer_timeout_ns if own is None else own

    def _look_for_late_acks(self) -> None:
        self._tick = None
        oldest = next(iter(self.unacked.values()), None)
        if oldest is None:
            return
        timeout_ns = self._timeout_ns(oldest)
        if timeout_ns is None or oldest.since_ns + timeout_ns >= self.shared.timers.now_ns:
            self._set_tick()
            return
        refusal = failed(
            f"delivery acknowledgement on channel {self.number} timed out. "
            f"Timeout value used: {timeout_ns // MILLISECOND} ms. "
            "This timeout value can be configured, see consumers doc guide to learn more"
        )
        self.connection.refuse(self, (0, 0), refusal)

    # --- the end

    def detach(self) -> dict[Queue, None]:
        """Take its consumers away; gives the queues that they had."""
        queues: dict[Queue, None] = {}
        for consumer in self.consumers.values():
            consumer.queue.remove_consumer(consumer)
            queues[consumer.queue] = None
        self.consumers.clear()
        self.blocked.clear()
        if self._tick is not None:
            self.shared.timers.cancel(self._tick)
            self._tick = None
        return queues

    def give_back(self, reason: str) -> dict[Queue, None]:
        """Put what is unacknowledged back; gives the queues that have got something."""
        if self.transaction is not None:
            self.unacked = self.transaction.restored(self.unacked)
        entries = list(self.unacked.values())
        self.unacked.clear()
        self.volume -= count_out(entries, self.shared)
        back = by_queue(entries)
        for queue, messages in back.items():
            queue.requeue(messages, reason)
        return dict.fromkeys(back)


def close_channels(channels: list[Channel], reason: str) -> None:
    """End some channels together, so that none gets what another gives back."""
    left: dict[Queue, None] = {}
    for channel in channels:
        left.update(channel.detach())
    for queue in left:
        if queue.abandoned:
            queue.delete()
    run: dict[Queue, None] = {}
    for channel in channels:
        run.update(channel.give_back(reason))
    for queue in run:
        queue.run()
