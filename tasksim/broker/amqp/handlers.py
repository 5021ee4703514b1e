"""What a channel does with the methods of the classes basic, confirm, tx and channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.channel import Channel
from tasksim.broker.amqp.consumer import Consumer
from tasksim.broker.amqp.declarations import DECLARATIONS, queue_of
from tasksim.broker.amqp.publishing import confirm_select, publish, spread
from tasksim.broker.amqp.refusals import Refusal, describe, failed
from tasksim.broker.amqp.unacked import Transaction, counted

__all__ = ["HANDLERS"]

Handler = Callable[[Channel, "tuple[Any, ...]", "m.Content | None"], None]


# --- consuming


def qos(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.qos, as RabbitMQ reads it (docs "consumer-prefetch").

    Not global: each consumer that subscribes on this channel from now on. Global: all consumers of the channel
    together, at once. The former also ends the latter (rabbit_channel). From 4.3 on the latter is not permitted by
    default, and taken for the former.
    """
    size, count, together = args
    if size:
        raise Refusal(540, f"prefetch_size!=0 ({size})")
    if together and channel.shared.version < (4, 3):
        if not channel.limit:
            # It begins with all that is unacknowledged, basic.get's too (rabbit_channel: "not strictly right").
            channel.volume = len(channel.unacked)
        channel.limit = count
    else:
        channel.prefetch = count
        channel.limit = 0
    channel.reply(m.BASIC_QOS_OK)
    channel.ease()


def consume(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.consume."""
    _ticket, name, tag, _no_local, no_ack, exclusive, nowait, arguments = args
    if tag and tag in channel.consumers:
        raise Refusal(530, f"attempt to reuse consumer tag '{tag}'")
    queue = queue_of(channel, name)
    what = describe("queue", queue.name, channel.vhost.name)
    taken = queue.consumers and (exclusive or any(consumer.exclusive for consumer in queue.consumers))
    if not queue.quorum and (taken or (exclusive and queue.single_active)):
        # spec basic.consume.exclusive; rabbit_amqqueue_process:handle_call({basic_consume, ...}). A quorum queue does
        # not ask (rabbit_quorum_queue:consume).
        raise Refusal(403, f"{what} in exclusive use")
    if queue.quorum and channel.limit:
        # docs "quorum-queues", "Global QoS"
        raise Refusal(540, f"{what} does not support global qos")
    consumer = Consumer(
        tag or f"amq.ctag-{channel.shared.number()}",
        channel,
        queue,
        no_ack=no_ack,
        exclusive=exclusive,
        # docs "consumers": there is no limit for a consumer that does not acknowledge.
        prefetch=0 if no_ack else channel.prefetch,
        priority=(arguments or {}).get("x-priority", 0),
    )
    channel.consumers[consumer.tag] = consumer
    if not nowait:
        channel.reply(m.BASIC_CONSUME_OK, consumer.tag)
    queue.add_consumer(consumer)


def cancel(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.cancel."""
    tag, nowait = args
    channel.cancel(tag)
    if not nowait:
        channel.reply(m.BASIC_CANCEL_OK, tag)


def get(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.get."""
    _ticket, name, no_ack = args
    queue = queue_of(channel, name)
    if queue.quorum and queue.single_active:
        # rabbit_quorum_queue:dequeue
        what = describe("queue", queue.name, channel.vhost.name)
        words = "basic.get operations are not supported by quorum queues with single active consumer"
        raise Refusal(405, f"cannot obtain access to locked {what}. {words}")
    queue.touch()
    if not queue.ready:
        channel.reply(m.BASIC_GET_EMPTY, "")
        return
    message = queue.pop()
    queue.expire()  # before the rest is counted (rabbit_amqqueue_process:fetch)
    tag = channel.hand_over(message, queue, None, not no_ack)
    channel.send(
        channel.number,
        m.BASIC_GET_OK,
        (tag, message.redelivered, message.exchange, message.routing_key, queue.ready),
        # Unlike a delivery it tells of a count of none, too (rabbit_fifo_client:dequeue).
        m.Content(counted(message) if queue.quorum else message.properties, message.body),
    )


# --- settling


def ack(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.ack."""
    entries = channel.take(args[0], args[1])
    if channel.transaction is not None:
        channel.transaction.settled.append((True, False, entries))
    else:
        channel.acknowledge(entries)


def nack(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.nack (docs "nack")."""
    tag, multiple, requeue = args
    entries = channel.take(tag, multiple)
    if channel.transaction is not None:
        channel.transaction.settled.append((False, requeue, entries))
    else:
        channel.reject(entries, requeue)


def reject(channel: Channel, args: tuple[Any, ...], content: m.Content | None) -> None:
    """basic.reject."""
    nack(channel, (args[0], False, args[1]), content)


def recover_async(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """basic.recover-async; without requeue it is not implemented (docs "specification")."""
    if not args[0]:
        raise Refusal(540, "requeue=false")
    channel.recover()


def recover(channel: Channel, args: tuple[Any, ...], content: m.Content | None) -> None:
    """basic.recover."""
    recover_async(channel, args, content)
    channel.reply(m.BASIC_RECOVER_OK)


# --- transactions (docs "semantics"): what is published and settled counts from the commit on


def tx_select(channel: Channel, _args: tuple[Any, ...], _: m.Content | None) -> None:
    """tx.select."""
    if channel.confirming:
        raise failed("cannot switch from confirm to tx mode")
    channel.transaction = channel.transaction or Transaction()
    channel.reply(m.TX_SELECT_OK)


def _transaction(channel: Channel) -> Transaction:
    if channel.transaction is None:
        raise failed("channel is not transactional")
    return channel.transaction


def tx_commit(channel: Channel, _args: tuple[Any, ...], _: m.Content | None) -> None:
    """tx.commit."""
    done, channel.transaction = _transaction(channel), Transaction()
    for message, queues, mandatory in done.published:
        spread(channel, message, [queue for queue in queues if not queue.deleted], mandatory)
    for acked, requeue, entries in done.settled:
        if acked:
            channel.acknowledge(entries)
        else:
            channel.reject(entries, requeue)
    channel.reply(m.TX_COMMIT_OK)


def tx_rollback(channel: Channel, _args: tuple[Any, ...], _: m.Content | None) -> None:
    """tx.rollback."""
    channel.unacked = _transaction(channel).restored(channel.unacked)
    channel.transaction = Transaction()
    channel.reply(m.TX_ROLLBACK_OK)


def flow(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """channel.flow: a client cannot stop RabbitMQ (docs "specification")."""
    if not args[0]:
        raise Refusal(540, "active=false")
    channel.reply(m.CHANNEL_FLOW_OK, True)


def _ignore(_channel: Channel, _args: tuple[Any, ...], _: m.Content | None) -> None:
    """An answer to what the server said."""


HANDLERS: dict[m.Method, Handler] = {
    **DECLARATIONS,
    m.BASIC_PUBLISH: publish,
    m.BASIC_ACK: ack,
    m.BASIC_NACK: nack,
    m.BASIC_REJECT: reject,
    m.BASIC_QOS: qos,
    m.BASIC_CONSUME: consume,
    m.BASIC_CANCEL: cancel,
    m.BASIC_CANCEL_OK: _ignore,
    m.BASIC_GET: get,
    m.BASIC_RECOVER: recover,
    m.BASIC_RECOVER_ASYNC: recover_async,
    m.CONFIRM_SELECT: confirm_select,
    m.TX_SELECT: tx_select,
    m.TX_COMMIT: tx_commit,
    m.TX_ROLLBACK: tx_rollback,
    m.CHANNEL_FLOW: flow,
    m.CHANNEL_FLOW_OK: _ignore,
}
