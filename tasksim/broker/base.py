"""What a server needs of the world, and what all parts of one server share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from tasksim.errors import UsageError
from tasksim.events import Event, Often
from tasksim.message import Serials

if TYPE_CHECKING:
    from tasksim.broker.amqp.queue import Queue

__all__ = ["SECOND", "Shared", "Timers", "parse_version"]

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


class Timers(Protocol):
    """A clock and an agenda."""

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds."""

    def at(self, due_ns: int, function: Callable[..., object], *args: object) -> Any:
        """Call `function(*args)` at this time; gives an entry that can be cancelled."""

    def cancel(self, entry: Any) -> None:
        """Forget an entry; one that has run already is no error."""


def parse_version(text: str) -> tuple[int, ...]:
    """("4.1" -> (4, 1)); rules that depend on the version compare with this.

    Raises:
        UsageError: it is no version.
    """
    if not all(part.isdigit() for part in text.split(".")):
        raise UsageError(f'rabbitmq={text!r} is not a version; write "4.1" or "3.13.7"')
    return tuple(int(part) for part in text.split("."))


class Shared:
    """The world of one server, and the counts over all its queues that must be cheap to ask for.

    Attributes:
        now: the time for events, in seconds.
        record: takes events.
        version: of RabbitMQ, as numbers.
        epoch_ns: what the wall clock showed (nanoseconds since 1970) when `timers.now_ns` was 0.
        consumer_timeout_ns: how long a delivery may stay unacknowledged; None for ever.
        max_message_bytes: no larger body is taken.
        quiet: exchanges whose messages leave no event: a task system's own chatter. Their messages have number 0.
        unacked: deliveries that wait for an acknowledgement.
        served: queues with a consumer that acknowledges.
        flowing: queues whose messages go on to a dead-letter exchange when their time to live ends.
        number: counts the names that the server makes up, for queues and consumers.
        record: takes an event.
        record_often: takes one of those that every task has; not called for what befalls a message without a number.
        deliveries: the latest delivery of each task's message, by task id.
        keep: takes what was published, as it came: the message's number and its content.
        clients_clock: what the clocks of those who publish show, in seconds since 1970.
    """

    __slots__ = (
        "clients_clock",
        "consumer_timeout_ns",
        "deliveries",
        "epoch_ns",
        "flowing",
        "keep",
        "max_message_bytes",
        "now",
        "number",
        "quiet",
        "record",
        "record_often",
        "running",
        "serials",
        "served",
        "timers",
        "unacked",
        "version",
    )

    def __init__(
        self,
        timers: Timers,
        record: Callable[[Event], None],
        now: Callable[[], float],
        serials: Serials,
        version: str,
        consumer_timeout: float | None,
        epoch_ns: int,
    ) -> None:
        self.timers, self.record, self.now, self.serials = timers, record, now, serials
        self.record_often: Callable[[Often], None] = record
        self.deliveries: dict[str, int] = {}
        self.keep: Callable[[tuple[int, Any]], None] = lambda _: None
        self.version = parse_version(version)
        self.consumer_timeout_ns = None if consumer_timeout is None else round(consumer_timeout * SECOND)
        self.epoch_ns = epoch_ns
        self.clients_clock: Callable[[], float] = self.wall
        # docs "limits": 16 MiB by default since 4.0, 128 MiB before.
        self.max_message_bytes = (16 if self.version >= (4, 0) else 128) * 1024 * 1024
        self.running = True
        self.quiet: frozenset[str] = frozenset()
        self.unacked = 0
        self.served: dict[Queue, None] = {}
        self.flowing: dict[Queue, None] = {}
        self.number: Callable[[], int] = count(1).__next__

    def wall(self) -> float:
        """The time of day, in seconds since 1970."""
        return (self.epoch_ns + self.timers.now_ns) / SECOND
