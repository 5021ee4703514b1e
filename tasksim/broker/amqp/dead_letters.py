"""What a message carries when it goes to a dead-letter exchange (docs "dlx"), and when it has gone in a circle."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tasksim.broker.base import SECOND, Shared
from tasksim.events import DeadLettered, Dropped
from tasksim.message import Message

if TYPE_CHECKING:
    from tasksim.broker.amqp.queue import Queue

__all__ = ["DeadLetters", "dead_letter"]

#: Since 3.13 messages also carry x-last-death-* (rabbit's module mc).
_LAST_DEATHS = (3, 13)
#: Since 4.0 the server no longer believes an x-death that a client published (docs "dlx").
_OWN_DEATHS = (4, 0)


def _known_deaths(message: Message, version: tuple[int, ...]) -> tuple[dict[str, Any], ...]:
    """The deaths a published message has behind it, latest first."""
    headers = message.properties.get("application_headers")
    if version >= _OWN_DEATHS or not headers or not isinstance(headers.get("x-death"), list):
        return ()
    return tuple(death for death in headers["x-death"] if isinstance(death, dict))


class DeadLetters:
    """Those on their way in one virtual host.

    Queues are processes of their own: a message reaches all queues that its exchange chose before one of these sends it
    on (rabbit_channel:deliver_to_queues casts to all). As a context manager: what is sent within arrives at the end of
    the outermost block.
    """

    def __init__(self) -> None:
        self._on_the_way: deque[tuple[Queue, Message, Queue]] = deque()
        self._depth = 0

    def __enter__(self) -> DeadLetters:
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        while self._depth == 1 and self._on_the_way:
            target, message, source = self._on_the_way.popleft()
            if target.deleted:
                target.drop(message, "queue deleted")
            else:
                target.publish(message, source)
        self._depth -= 1

    def send(self, target: Queue, message: Message, source: Queue) -> None:
        """From one queue to another."""
        self._on_the_way.append((target, message, source))


def dead_letter(queue: Queue, message: Message, reason: str) -> bool:
    """Send a message on to its queue's dead-letter exchange; False if there is none.

    Args:
        queue: the queue it was in.
        message: what was rejected, has expired or was dropped.
        reason: "rejected", "expired", "maxlen" or "delivery_limit".
    """
    exchange, shared, vhost = queue.dead_letter_exchange, queue.shared, queue.vhost
    # An exchange that does not exist is as good as none (rabbit_amqqueue_process:with_dlx).
    if exchange is None or queue.deleted or (exchange and exchange not in vhost.exchanges):
        return False
    copy = _copy(queue, message, reason, exchange)
    number, task_id = message.number, message.task_id
    shared.record(DeadLettered(shared.now(), "broker", number, queue.name, exchange, copy.routing_key, reason, task_id))
    targets = vhost.route(copy)
    if not targets:
        shared.record(Dropped(shared.now(), "broker", number, None, "unroutable", task_id))
    with vhost.letters as letters:
        for target in targets:
            if reason != "rejected" and _goes_in_circles(copy.deaths, target.name):
                target.drop(copy, "dead-letter cycle")
            else:
                letters.send(target, copy.copy(), queue)
    return True


def _copy(queue: Queue, message: Message, reason: str, exchange: str) -> Message:
    """The message as it is published to the dead-letter exchange."""
    shared, key = queue.shared, queue.dead_letter_key
    properties = dict(message.properties)
    headers = dict(properties.get("application_headers") or {})
    deaths = message.deaths or _known_deaths(message, shared.version)
    deaths = _one_more(deaths, message, queue.name, reason, shared)
    headers["x-death"] = [dict(death) for death in deaths]
    for name, value in (("reason", reason), ("queue", queue.name), ("exchange", message.exchange)):
        headers.setdefault(f"x-first-death-{name}", value)
        if shared.version >= _LAST_DEATHS:
            headers[f"x-last-death-{name}"] = value
    properties["application_headers"] = headers
    # Otherwise it might expire again where it goes (docs "dlx": the expiration property is removed).
    properties.pop("expiration", None)
    copy = Message(message.number, exchange, message.routing_key if key is None else key, properties, message.body)
    copy.deaths = deaths
    return copy


def _one_more(
    deaths: tuple[dict[str, Any], ...], message: Message, queue: str, reason: str, shared: Shared
) -> tuple[dict[str, Any], ...]:
    # One entry for each pair of queue and reason, the latest in front (docs "dlx", "Effects on dead-lettered
    # messages"). Before 3.13 the others are turned round each time (rabbit_dead_letter:group_by_queue_and_reason).
    if shared.version < _LAST_DEATHS:
        deaths = deaths[::-1]
    others = [death for death in deaths if (death.get("queue"), death.get("reason")) != (queue, reason)]
    same = next((death for death in deaths if (death.get("queue"), death.get("reason")) == (queue, reason)), None)
    if same is not None:
        return ({**same, "count": same.get("count", 0) + 1}, *others)
    seconds = (shared.epoch_ns + shared.timers.now_ns) // SECOND
    death: dict[str, Any] = {
        "count": 1,
        "reason": reason,
        "queue": queue,
        "time": datetime.fromtimestamp(seconds, tz=timezone.utc).replace(tzinfo=None),  # noqa: UP017 (as py-amqp)
        "exchange": message.exchange,
        "routing-keys": [message.routing_key],
    }
    if message.expiration_ms is not None:
        death["original-expiration"] = str(message.expiration_ms)
    return (death, *others)


def _goes_in_circles(deaths: tuple[dict[str, Any], ...], queue: str) -> bool:
    """The message was in this queue before, and no client rejected it since (rabbit's mc:is_death_cycle)."""
    for index, death in enumerate(deaths):
        if death.get("queue") == queue:
            return all(one.get("reason") != "rejected" for one in deaths[: index + 1])
    return False
