"""What is drawn: AMQP operations of the kind that kombu and Celery use, as plain data.

Names are numbers until a case is run: every case has queues and exchanges of its own on the servers. Left out is what
RabbitMQ itself leaves to chance: which of several queues of one channel goes on first when a limit over the whole
channel is eased, and what the real clock decides; times to live are zero, an hour, or over before the next step.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.differential.cases import Case, Operation

__all__ = ["CHANNELS", "EXCHANGES", "PAUSE_MS", "QUEUES", "draw_case"]

QUEUES, EXCHANGES, CHANNELS = 3, 3, 3
#: Milliseconds of a time to live that is over before the next step, and of the pause in it.
SHORT_MS, PAUSE_MS = 15, 45
HOUR_MS = 3_600_000

_ABOUT_DELIVERIES = ("ack", "nack", "reject", "recover", "close channel", "close connection", "cancel", "qos")
_KEYS = ("a", "a.b", "a.b.c", "b")
_PATTERNS = ("a", "a.b", "a.*", "a.#", "#", "*.b", "*.b.#", "b")
_HEADERS: tuple[dict[str, Any], ...] = (
    {}, {"x": 1}, {"y": "s"}, {"x": 1, "y": "s"}, {"x": 2, "y": "s"}, {"x": None}, {"x": 1, "x-h": 1},
)  # fmt: skip
_MATCHES: tuple[dict[str, Any], ...] = (
    {}, {"x": 1}, {"x-match": "all", "x": 1, "y": "s"}, {"x-match": "any", "x": 1, "y": "s"}, {"x-match": "any"},
    {"x-match": "all"}, {"x-match": "any", "x": 2, "z": 1}, {"x-match": "all", "x": 1, "x-h": 1}, {"x": None},
)  # fmt: skip


@dataclass
class _Drawing:
    """One case while it is drawn: so many queues and exchanges are declared at its beginning."""

    random: random.Random
    shape: str
    queues: int
    exchanges: int
    consuming: list[int] = field(default_factory=list)

    def one_in(self, number: int) -> bool:
        """True once in so many times."""
        return self.random.randrange(number) == 0

    def operation(self, kind: str, /, **options: Any) -> Operation:
        """On a drawn channel; what is about deliveries mostly on one that has consumed."""
        channel = self.random.choice((0, 1, 2, 2) if kind == "consume" else (0, 0, 1, 2, 2))
        if kind == "consume":
            self.consuming.append(channel)
        elif kind in _ABOUT_DELIVERIES and self.consuming and not self.one_in(5):
            channel = self.random.choice(self.consuming)
        return Operation(kind, channel, options)

    def queue(self) -> int:
        """Mostly one that was declared."""
        if self.shape == "together":
            return 0
        return self.random.randrange(QUEUES if self.one_in(12) else self.queues)

    def exchange(self) -> int:
        """Mostly one that was declared."""
        return self.random.randrange(EXCHANGES if self.one_in(12) or not self.exchanges else self.exchanges)

    # --- declarations

    def arguments(self) -> dict[str, Any]:
        """Of a queue; those about dead letters name an exchange and a queue by number, -1 the default exchange."""
        chance, timed, quorum = self.random, self.shape == "timed", self.shape == "quorum"
        groups: dict[str, Callable[[], dict[str, Any]]] = {
            "length": lambda: {"x-max-length": chance.randrange(4), **self.overflow()},
            "bytes": lambda: {"x-max-length-bytes": chance.randint(4, 12), **self.overflow()},
            "dead letters": self.dead_letters,
            "one consumer": lambda: {"x-single-active-consumer": True},
        }
        if quorum:
            groups["limit"] = lambda: {"x-delivery-limit": chance.randint(1, 2)}
        else:
            groups["priority"] = lambda: {"x-max-priority": chance.randint(1, 10)}
            groups["ttl"] = lambda: {"x-message-ttl": chance.choice((SHORT_MS, 0) if timed else (0, HOUR_MS, HOUR_MS))}
        if timed:
            groups["lease"] = lambda: {"x-expires": SHORT_MS}
        names = chance.sample(sorted(groups), chance.randrange(4))
        if timed and self.one_in(2) and "lease" not in names:
            names.append("lease")
        if self.one_in(3) and "dead letters" not in names:
            names.append("dead letters")
        found = {"x-queue-type": "quorum"} if quorum else {}
        for name in names:
            found.update(groups[name]())
        return found

    def overflow(self) -> dict[str, Any]:
        """What happens when the queue is full."""
        modes = ["", "drop-head", "reject-publish", "reject-publish"]
        mode = self.random.choice(modes if self.shape == "quorum" else [*modes, "reject-publish-dlx"])
        return {"x-overflow": mode} if mode else {}

    def dead_letters(self) -> dict[str, Any]:
        """Where dead letters go."""
        chance = self.random
        exchange = -1 if not self.exchanges or chance.random() < 0.6 else self.exchange()
        found: dict[str, Any] = {"x-dead-letter-exchange": exchange}
        if not self.one_in(5):
            found["x-dead-letter-routing-key"] = self.queue() if exchange < 0 else chance.choice(_KEYS)
        return found

    def declare_queue(self, number: int) -> Operation:
        """queue.declare."""
        flags: dict[str, bool] = {}
        if self.shape != "quorum" and self.one_in(4):
            flags = self.random.choice(({"exclusive": True}, {"auto_delete": True}, {"durable": False}))
        return self.operation("declare queue", queue=number, flags=flags, arguments=self.arguments())

    def declare_exchange(self, number: int) -> Operation:
        """exchange.declare."""
        chance = self.random
        kind = chance.choice(("direct", "direct", "fanout", "topic", "topic", "headers", "headers"))
        flags = chance.choice(({"auto_delete": True}, {"durable": False})) if self.one_in(8) else {}
        alternate = self.exchange() if self.one_in(4) else None
        return self.operation("declare exchange", exchange=number, kind=kind, flags=flags, alternate=alternate)

    def bind(self) -> Operation:
        """queue.bind."""
        chance = self.random
        arguments = chance.choice(_MATCHES) if self.one_in(2) else {}
        where = {"queue": self.queue(), "exchange": self.exchange()}
        return self.operation("bind", **where, key=chance.choice(_PATTERNS), arguments=arguments)

    # --- everyday

    def publish(self, to: int, key: str | None) -> Operation:
        """basic.publish to a queue, or to an exchange (-1 less its number)."""
        chance = self.random
        short = str(SHORT_MS if self.shape == "timed" else HOUR_MS)
        return self.operation(
            "publish",
            to=to,
            key=key,
            priority=chance.choice((None, None, 0, 1, 5, 9, 12)),
            expiration=chance.choice((None, None, None, None, "0", short)),
            headers=chance.choice(_HEADERS),
            mandatory=self.one_in(3),
            body=chance.choice((4, 4, 8)),
        )

    def to_queue(self) -> Operation:
        """To a queue, by the default exchange."""
        return self.publish(self.queue(), None)

    def to_exchange(self) -> Operation:
        """To an exchange."""
        return self.publish(-1 - self.exchange(), self.random.choice(_KEYS))

    def consume(self) -> Operation:
        """basic.consume."""
        priority = self.random.choice((None, None, None, 1, 5))
        flags = {"no_ack": self.one_in(5), "exclusive": self.one_in(10)}
        return self.operation("consume", queue=self.queue(), priority=priority, **flags)

    def settle(self, kind: str, /, **options: Any) -> Operation:
        """An acknowledgement, or its contrary; -1 is a delivery that there never was."""
        which = -1 if self.one_in(25) else self.random.randrange(4)
        return self.operation(kind, which=which, multiple=kind != "reject" and self.one_in(3), **options)

    def delete_queue(self) -> Operation:
        """queue.delete."""
        flags = self.random.choice(({}, {}, {"if_unused": True}, {"if_empty": True}))
        return self.operation("delete queue", queue=self.queue(), flags=flags)

    def unbind(self) -> Operation:
        """queue.unbind."""
        where = {"queue": self.queue(), "exchange": self.exchange()}
        return self.operation("unbind", **where, key=self.random.choice(_PATTERNS), arguments={})

    def bind_exchange(self) -> Operation:
        """exchange.bind."""
        ends = {"destination": self.exchange(), "source": self.exchange()}
        return self.operation("bind exchange", **ends, key=self.random.choice(_PATTERNS))

    def come_back(self) -> list[Operation]:
        """Messages are fetched and put back among others."""
        channel, queue = self.random.randrange(CHANNELS), self.queue()
        fetch = Operation("get", channel, {"queue": queue, "no_ack": False})
        sent = [self.publish(queue, None) for _ in range(self.random.randint(2, 4))]
        back = [self.settle("nack", requeue=True) for _ in range(self.random.randint(1, 2))]
        fetched = [fetch] * self.random.randint(1, 2)
        back = [Operation(one.kind, channel, one.options) for one in back]
        return [*sent, *fetched, *back, fetch, fetch]

    def anything(self) -> Operation:
        """The next operation."""
        chance, flag = self.random, self.one_in(2)
        choices: list[tuple[int, Callable[[], Operation]]] = [
            (30, self.to_queue), (20, self.consume), (4, lambda: self.operation("confirms")),
            (6, lambda: self.operation("get", queue=self.queue(), no_ack=self.one_in(3))),
            (3, lambda: self.operation("cancel", which=chance.randrange(3))),
            (7, lambda: self.operation("qos", count=chance.randrange(4), together=self.shape == "together")),
            (14, lambda: self.settle("ack")), (8, lambda: self.settle("nack", requeue=flag)),
            (7, lambda: self.settle("reject", requeue=self.one_in(3))), (4, lambda: self.operation("recover")),
            (3, lambda: self.operation("close channel")), (6, lambda: self.operation("close connection")),
            (2, lambda: self.operation("purge", queue=self.queue())),
            (2, lambda: self.operation("passive", queue=self.queue())),
            (3, self.delete_queue), (3, lambda: self.declare_queue(self.queue())),
        ]  # fmt: skip
        if self.exchanges or self.one_in(10):
            choices += [
                (24, self.to_exchange), (4, self.bind), (3, self.unbind), (3, self.bind_exchange),
                (2, lambda: self.operation("delete exchange", exchange=self.exchange(), if_unused=flag)),
                (2, lambda: self.declare_exchange(self.exchange())),
            ]  # fmt: skip
        weights = [weight for weight, _ in choices]
        return chance.choices([make for _, make in choices], weights)[0]()


def draw_case(chance: random.Random) -> Case:
    """A case: some queues, perhaps exchanges with bindings, and then anything."""
    shape = chance.choices(("plain", "together", "timed", "quorum"), (74, 12, 8, 6))[0]
    queues = 1 if shape == "timed" else chance.choice((1, 2, 2, 3))
    exchanges = 0 if shape in ("timed", "quorum") else chance.choice((0, 0, 1, 2, 3))
    drawing = _Drawing(chance, shape, queues, exchanges)
    operations = [drawing.declare_queue(number) for number in range(queues)]
    operations += [drawing.declare_exchange(number) for number in range(exchanges)]
    if drawing.one_in(3):
        operations += [Operation("confirms", channel) for channel in range(CHANNELS)]
    operations += [drawing.bind() for _ in range(chance.randint(1, 5) if exchanges else 0)]
    least, most = (3, 6) if shape == "timed" else (4, 10) if shape == "quorum" else (8, 18)
    operations += [drawing.anything() for _ in range(chance.randint(least, most))]
    if shape == "plain" and drawing.one_in(4):
        operations += drawing.come_back()
    return Case(tuple(operations), timed=shape == "timed")
