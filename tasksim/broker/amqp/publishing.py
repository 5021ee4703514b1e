"""What a channel does with what a client publishes: route, confirm, return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.channel import Channel
from tasksim.broker.amqp.queue import Queue
from tasksim.broker.amqp.refusals import Refusal, describe, failed, not_found
from tasksim.events import Dropped, Published, Returned
from tasksim.message import Message, due_of

__all__ = ["confirm_select", "publish", "spread"]


def publish(channel: Channel, args: tuple[Any, ...], content: m.Content | None) -> None:
    """basic.publish."""
    _, exchange, key, mandatory, immediate = args
    if immediate:
        # docs "specification": not supported since 3.0.
        raise Refusal(540, "immediate=true")
    if exchange:
        _check_exchange(channel, exchange)
    assert content is not None
    shared, properties = channel.shared, content.properties
    if len(content.body) > shared.max_message_bytes:
        size, limit = len(content.body), shared.max_message_bytes
        raise failed(f"message size {size} is larger than configured max size {limit}")
    expiration = properties.get("expiration")
    number = 0 if exchange in shared.quiet else shared.serials.message()
    message = Message(number, exchange, key, properties, content.body)
    if expiration is not None:
        message.expiration_ms = _milliseconds(expiration)
    if number:
        now = shared.now()
        due = None if message.eta is None else due_of(message.eta, now, shared.clients_clock())
        task = message.task_id, message.task, message.retries, message.eta, due
        shared.record_often(Published(now, channel.owner, number, exchange, key, *task))
        shared.keep((number, content))
    queues = channel.vhost.route(message)
    if channel.transaction is not None:
        channel.transaction.published.append((message, queues, mandatory))
        return
    if not channel.confirming:
        message.unconfirmed_ns = shared.timers.now_ns
    accepted = spread(channel, message, queues, mandatory)
    if channel.confirming:
        channel.published += 1
        if accepted:
            channel.send(channel.number, m.BASIC_ACK, (channel.published, False), None)
        else:
            channel.send(channel.number, m.BASIC_NACK, (channel.published, False, False), None)


def _check_exchange(channel: Channel, name: str) -> None:
    exchange = channel.vhost.exchanges.get(name)
    if exchange is None:
        raise not_found("exchange", name, channel.vhost.name)
    if exchange.internal:
        raise Refusal(403, f"cannot publish to internal {describe('exchange', name, channel.vhost.name)}")


def _milliseconds(expiration: str) -> int:
    # docs "ttl": a string; the words are not RabbitMQ's to the letter, which prints an Erlang term.
    if not str(expiration).isdigit():
        raise failed(f"invalid expiration '{expiration}': no_integer")
    return int(expiration)


def spread(channel: Channel, message: Message, queues: Iterable[Queue], mandatory: bool) -> bool:
    """Put a message into its queues; False if one of them refuses."""
    accepted, first = True, True
    with channel.vhost.letters:
        for queue in queues:
            accepted = queue.publish(message if first else message.copy(), channel) and accepted
            first = False
    if first:
        _unroutable(channel, message, mandatory)
    return accepted


def _unroutable(channel: Channel, message: Message, mandatory: bool) -> None:
    shared = channel.shared
    if not mandatory:
        shared.record(Dropped(shared.now(), "broker", message.number, None, "unroutable", message.task_id))
        return
    # spec basic.publish.mandatory; the return goes out before the confirm (docs "confirms").
    exchange, key = message.exchange, message.routing_key
    shared.record(
        Returned(shared.now(), channel.owner, message.number, exchange, key, 312, "NO_ROUTE", message.task_id)
    )
    content = m.Content(message.properties, message.body)
    channel.send(channel.number, m.BASIC_RETURN, (312, "NO_ROUTE", exchange, key), content)


def confirm_select(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """confirm.select (docs "confirms")."""
    if channel.transaction is not None:
        raise failed("cannot switch from tx to confirm mode")
    channel.confirming = True
    if not args[0]:
        channel.reply(m.CONFIRM_SELECT_OK)
