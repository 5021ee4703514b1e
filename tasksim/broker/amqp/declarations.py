"""What a channel does with the methods of the classes exchange and queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.arguments import check_arguments, check_equivalence
from tasksim.broker.amqp.channel import Channel
from tasksim.broker.amqp.exchange import KINDS, Exchange
from tasksim.broker.amqp.queue import Queue
from tasksim.broker.amqp.refusals import Refusal, describe, failed, inequivalent, not_found

__all__ = ["DECLARATIONS", "queue_of"]


def _strip(name: str) -> str:
    # rabbit_channel:strip_cr_lf
    return name.replace("\r", "").replace("\n", "")


def queue_of(channel: Channel, name: str) -> Queue:
    """The queue of that name, if this connection may use it; an empty name is the one declared last."""
    name = _named(channel, name)
    queue = channel.vhost.queues.get(name)
    if queue is None:
        _check_present(channel, name)
        raise not_found("queue", name, channel.vhost.name)
    _check_owner(channel, queue)
    return queue


def _check_present(channel: Channel, name: str) -> None:
    if name in channel.vhost.absent:
        # rabbit_amqqueue: absent, nodedown (github.com/rabbitmq/rabbitmq-server/issues/2454 has the words).
        what = describe("queue", name, channel.vhost.name)
        node = f"rabbit@{channel.connection.server.name}"
        raise Refusal(404, f"home node '{node}' of durable {what} is down or inaccessible")


def _named(channel: Channel, name: str) -> str:
    if not name and not channel.declared:
        raise Refusal(404, "no previously declared queue")
    return name or channel.declared


def _check_owner(channel: Channel, queue: Queue) -> None:
    if queue.owner is not None and queue.owner is not channel.connection:
        raise _locked(channel, queue)


def _locked(channel: Channel, queue: Queue) -> Refusal:
    # spec queue.declare.exclusive; docs "queues", "Exclusive queues"
    return Refusal(
        405,
        f"cannot obtain exclusive access to locked {describe('queue', queue.name, channel.vhost.name)}. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration.",
    )


def _reserved(kind: str, name: str) -> None:
    # spec: names beginning with amq. are the server's, if the thing does not exist yet.
    if name.startswith("amq."):
        raise Refusal(403, f"{kind} name '{name}' contains reserved prefix 'amq.*'")


# --- queues


def queue_declare(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """queue.declare."""
    _ticket, name, passive, durable, exclusive, auto_delete, nowait, arguments = args
    name, arguments = _strip(name), arguments or {}
    if passive:
        queue = queue_of(channel, name)
    else:
        # docs "queues": an exclusive queue never outlives its connection, so it is not durable.
        durable = durable and not exclusive
        if name in channel.vhost.queues:
            queue = channel.vhost.queues[name]
            _check_same(channel, queue, durable, exclusive, auto_delete, arguments)
            queue.touch()
        else:
            _check_present(channel, name)
            queue = _new_queue(channel, name, durable, exclusive, auto_delete, arguments)
    channel.declared = queue.name
    if not nowait:
        channel.reply(m.QUEUE_DECLARE_OK, queue.name, queue.ready, queue.count_consumers())


def _new_queue(
    channel: Channel, name: str, durable: bool, exclusive: bool, auto_delete: bool, arguments: dict[str, Any]
) -> Queue:
    _reserved("queue", name)
    quorum = arguments.get("x-queue-type") == "quorum"
    if not name and quorum:
        raise failed("Cannot declare a server-named queue for type rabbit_quorum_queue")
    name = name or f"amq.gen-{channel.shared.number()}"
    what = describe("queue", name, channel.vhost.name)
    check_arguments(what, arguments)
    if quorum:
        # docs "quorum-queues", "Feature comparison"
        properties = {"auto-delete": auto_delete, "exclusive-owner": exclusive, "non-durable": not durable}
        for wrong, given in properties.items():
            if given:
                raise failed(f"invalid property '{wrong}' for {what}")
    elif channel.shared.version >= (4, 3) and not durable and not exclusive:
        # Release notes of 4.3: no longer permitted unless configured.
        raise Refusal(541, "Feature `transient_nonexcl_queues` is deprecated.")
    owner = channel.connection if exclusive else None
    queue = Queue(name, channel.vhost, durable=durable, owner=owner, auto_delete=auto_delete, arguments=arguments)
    channel.vhost.add_queue(queue)
    if owner is not None:
        owner.exclusive[queue] = None
    return queue


def _check_same(
    channel: Channel, queue: Queue, durable: bool, exclusive: bool, auto_delete: bool, arguments: dict[str, Any]
) -> None:
    if (queue.owner is not None) != exclusive or queue.owner not in (None, channel.connection):
        raise _locked(channel, queue)
    what = describe("queue", queue.name, channel.vhost.name)
    if durable != queue.durable:
        raise inequivalent("durable", what, durable, queue.durable)
    if auto_delete != queue.auto_delete:
        raise inequivalent("auto_delete", what, auto_delete, queue.auto_delete)
    check_equivalence(what, arguments, queue.arguments)


def queue_bind(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """queue.bind; an empty queue name with an empty key means the queue's name as key (spec)."""
    _ticket, name, source, key, nowait, arguments = args
    queue, exchange, key = _ends(channel, name, source, key)
    channel.vhost.bind(exchange, queue, key, arguments or {})
    if not nowait:
        channel.reply(m.QUEUE_BIND_OK)


def queue_unbind(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """queue.unbind; of a queue or exchange that does not exist it is no error (rabbit_channel:binding_action)."""
    _ticket, name, source, key, arguments = args
    key = _default_key(channel, name, source, key)
    queue, exchange = channel.vhost.queues.get(_named(channel, name)), channel.vhost.exchanges.get(source)
    if queue is not None and exchange is not None:
        if exchange.has(queue, key, arguments or {}):  # else nobody asks whose it is (rabbit_binding:remove)
            _check_owner(channel, queue)
        channel.vhost.unbind(exchange, queue, key, arguments or {})
    channel.reply(m.QUEUE_UNBIND_OK)


def _ends(channel: Channel, name: str, source: str, key: str) -> tuple[Queue, Exchange, str]:
    # The exchange is looked for first (rabbit_binding:call_with_source_and_destination).
    key = _default_key(channel, name, source, key)
    exchange = _exchange_of(channel, source)
    return queue_of(channel, name), exchange, key


def _default_key(channel: Channel, name: str, source: str, key: str) -> str:
    if not name and not key:
        key = _named(channel, name)
    _not_default(source)
    return key


def queue_purge(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """queue.purge."""
    _ticket, name, nowait = args
    dropped = queue_of(channel, name).purge("queue purged")
    if not nowait:
        channel.reply(m.QUEUE_PURGE_OK, dropped)


def queue_delete(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """queue.delete; one that does not exist is no error (docs "specification": idempotent since 3.2)."""
    _ticket, name, if_unused, if_empty, nowait = args

    def answer(dropped: int) -> None:
        if not nowait:
            channel.reply(m.QUEUE_DELETE_OK, dropped)

    if _named(channel, name) in channel.vhost.queues:
        queue = queue_of(channel, name)
        what = describe("queue", queue.name, channel.vhost.name)
        if queue.quorum and (if_unused or if_empty):
            # rabbit_quorum_queue:delete
            flag = "if-unused" if if_unused else "if-empty"
            words = f"queue.delete operations with {flag} flag set are not supported by quorum queues"
            raise Refusal(540, f"cannot delete {what}. {words}")
        if if_unused and queue.consumers:
            raise failed(f"{what} in use")
        if if_empty and queue.ready:
            raise failed(f"{what} not empty")
        queue.delete(told=answer)
    else:
        _check_present(channel, _named(channel, name))
        answer(0)


# --- exchanges


def _not_default(*names: str) -> None:
    if "" in names:
        raise Refusal(403, "operation not permitted on the default exchange")


def _exchange_of(channel: Channel, name: str) -> Exchange:
    exchange = channel.vhost.exchanges.get(name)
    if exchange is None:
        raise not_found("exchange", name, channel.vhost.name)
    return exchange


def exchange_declare(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """exchange.declare."""
    _ticket, name, kind, passive, durable, auto_delete, internal, nowait, arguments = args
    name, arguments, vhost = _strip(name), arguments or {}, channel.vhost
    if not passive and kind not in KINDS:
        code = 503 if channel.shared.version < (3, 13) else 406
        raise Refusal(code, f"unknown exchange type '{kind}'")
    _not_default(name)
    if passive:
        _exchange_of(channel, name)
    elif name not in vhost.exchanges:
        _reserved("exchange", name)
        vhost.add_exchange(
            Exchange(name, kind, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments)
        )
    else:
        current, what = vhost.exchanges[name], describe("exchange", name, vhost.name)
        received = {"type": kind, "durable": durable, "auto_delete": auto_delete, "internal": internal}
        for argument, value in received.items():
            existing = getattr(current, "kind" if argument == "type" else argument)
            if value != existing:
                raise inequivalent(argument, what, value, existing)
        alternate = arguments.get("alternate-exchange")
        if alternate != current.alternate:
            raise inequivalent("alternate-exchange", what, alternate, current.alternate)
    if not nowait:
        channel.reply(m.EXCHANGE_DECLARE_OK)


def exchange_delete(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """exchange.delete; one that does not exist is no error (docs "specification")."""
    _ticket, name, if_unused, nowait = args
    name = _strip(name)
    _not_default(name)
    if name.startswith("amq."):
        what = describe("exchange", name, channel.vhost.name)
        raise Refusal(403, f"deletion of system {what} not allowed")
    exchange = channel.vhost.exchanges.get(name)
    if exchange is not None:
        if if_unused and exchange.bindings:
            raise failed(f"{describe('exchange', name, channel.vhost.name)} in use")
        channel.vhost.remove_exchange(exchange)
    if not nowait:
        channel.reply(m.EXCHANGE_DELETE_OK)


def exchange_bind(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """exchange.bind (docs "e2e")."""
    _ticket, destination, source, key, nowait, arguments = args
    _not_default(destination, source)
    ends = _exchange_of(channel, source), _exchange_of(channel, destination)
    channel.vhost.bind(*ends, key, arguments or {})
    if not nowait:
        channel.reply(m.EXCHANGE_BIND_OK)


def exchange_unbind(channel: Channel, args: tuple[Any, ...], _: m.Content | None) -> None:
    """exchange.unbind; as queue.unbind."""
    _ticket, destination, source, key, nowait, arguments = args
    _not_default(destination, source)
    ends = channel.vhost.exchanges.get(source), channel.vhost.exchanges.get(destination)
    if ends[0] is not None and ends[1] is not None:
        channel.vhost.unbind(ends[0], ends[1], key, arguments or {})
    if not nowait:
        channel.reply(m.EXCHANGE_UNBIND_OK)


DECLARATIONS: dict[m.Method, Callable[[Channel, tuple[Any, ...], m.Content | None], None]] = {
    m.EXCHANGE_DECLARE: exchange_declare,
    m.EXCHANGE_DELETE: exchange_delete,
    m.EXCHANGE_BIND: exchange_bind,
    m.EXCHANGE_UNBIND: exchange_unbind,
    m.QUEUE_DECLARE: queue_declare,
    m.QUEUE_BIND: queue_bind,
    m.QUEUE_UNBIND: queue_unbind,
    m.QUEUE_PURGE: queue_purge,
    m.QUEUE_DELETE: queue_delete,
}
