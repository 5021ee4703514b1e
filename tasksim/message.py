"""A message as a server holds it, and the numbers by which events tell messages, deliveries and connections apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

__all__ = ["KEPT", "Content", "Message", "Serials", "count_of", "due_of", "text_of"]

#: The contents of so many messages, the last that were published, can be read again.
KEPT = 10_000


def due_of(eta: object, now: float, wall: float) -> float | None:
    """An ETA as virtual seconds since the start; None for none, or for what is no moment.

    Args:
        eta: ISO 8601, as in a message's header; without a time zone it is UTC, as Celery reads it.
        now: virtual seconds since the start.
        wall: what the reader's clock shows now, in seconds since 1970.
    """
    if not isinstance(eta, str):
        return None
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(now + moment.timestamp() - wall, 6)


def text_of(value: object) -> str | None:
    """A name or an id as a header has it; what a foreign producer put there that is no text, as Python writes it."""
    return value if value is None or isinstance(value, str) else repr(value)


def count_of(value: object) -> int | None:
    """How many, as a header has it; None for none, or for what is no whole number."""
    return value if isinstance(value, int) else None


class Serials:
    """Counters shared by all servers of a simulation, so that a number means one thing in the whole trace."""

    __slots__ = ("channel", "connection", "delivery", "message")

    def __init__(self) -> None:
        self.message: Callable[[], int] = count(1).__next__
        self.delivery: Callable[[], int] = count(1).__next__
        self.connection: Callable[[], int] = count(1).__next__
        self.channel: Callable[[], int] = count(1).__next__


class Content:
    """A message on a wire: its properties, by py-amqp's names, and its body.

    The properties belong to whoever holds them in common: copy before changing.
    """

    __slots__ = ("body", "properties")

    def __init__(self, properties: dict[str, Any], body: bytes) -> None:
        self.properties, self.body = properties, body


class Message:
    """One message in one queue; a message routed to several queues has a copy in each, with the same number.

    Nobody may change `properties` once they were handed over: copies share them.

    Attributes:
        number: counts what was published, over all servers; see `tasksim.events`.
        exchange, routing_key: as the consumer will be told.
        properties: by py-amqp's names (`application_headers`, `delivery_mode`, `priority`, `expiration`, ...).
        task_id, task, retries, eta: Celery's headers; None where the message carries no task.
        position: its place in its queue's order; kept when it goes out and comes back.
        redelivered: it went out before.
        returns: how often it came back; only quorum queues count.
        expires_ns: when its time in its queue ends.
        expiration_ms: its own time to live, as the publisher wished.
        deaths: what x-death tells, latest first.
        unconfirmed_ns: when it was published, if its publisher did not wait for a confirm; else None.
    """

    __slots__ = (
        "body",
        "deaths",
        "eta",
        "exchange",
        "expiration_ms",
        "expires_ns",
        "number",
        "position",
        "properties",
        "redelivered",
        "retries",
        "returns",
        "routing_key",
        "task",
        "task_id",
        "unconfirmed_ns",
    )

    def __init__(self, number: int, exchange: str, routing_key: str, properties: dict[str, Any], body: bytes) -> None:
        self.number = number
        self.exchange = exchange
        self.routing_key = routing_key
        self.properties = properties
        self.body = body
        headers = properties.get("application_headers")
        if headers:
            self.task_id, self.task = text_of(headers.get("id")), text_of(headers.get("task"))
            self.retries: int | None = count_of(headers.get("retries"))
            self.eta = text_of(headers.get("eta"))
        else:
            self.task_id = self.task = None
            self.retries = self.eta = None
        self.position = 0
        self.redelivered = False
        self.returns = 0
        self.expires_ns: int | None = None
        self.expiration_ms: int | None = None
        self.deaths: tuple[dict[str, Any], ...] = ()
        self.unconfirmed_ns: int | None = None

    def __repr__(self) -> str:
        return f"<message {self.number} {self.task or self.routing_key}>"

    @property
    def persistent(self) -> bool:
        """The publisher asked that it outlive a restart."""
        return self.properties.get("delivery_mode") == 2

    def copy(self) -> Message:
        """The same message for another queue, new there."""
        other = Message(self.number, self.exchange, self.routing_key, self.properties, self.body)
        other.expiration_ms = self.expiration_ms
        other.deaths = self.deaths
        other.unconfirmed_ns = self.unconfirmed_ns
        return other
