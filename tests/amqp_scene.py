"""A broker and its clients in one line each: for tests of the AMQP server alone."""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.server import Server
from tasksim.broker.snapshot import QueueRow
from tasksim.events import Event
from tasksim.message import Content, Serials

SECOND = 1_000_000_000


class Clock:
    """The smallest agenda that will do."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.heap: list[list[Any]] = []
        self.serial = 0

    def at(self, due_ns: int, function: Any, *args: object) -> list[Any]:
        self.serial += 1
        entry = [due_ns, self.serial, function, args]
        heapq.heappush(self.heap, entry)
        return entry

    def cancel(self, entry: list[Any]) -> None:
        entry[2] = None

    def advance(self, seconds: float) -> None:
        end_ns = self.now_ns + round(seconds * SECOND)
        while self.heap and self.heap[0][0] <= end_ns:
            due_ns, _, function, args = heapq.heappop(self.heap)
            self.now_ns = max(self.now_ns, due_ns)
            if function is not None:
                function(*args)
        self.now_ns = end_ns


class Got(NamedTuple):
    """A delivery as a client gets it."""

    tag: int
    body: str
    redelivered: bool
    exchange: str
    key: str
    consumer: str
    properties: dict[str, Any]


class Scene:
    """A server with a clock, and the events that it recorded."""

    def __init__(self, version: str = "4.1", **options: Any) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.server = Server(
            "rabbit",
            self.clock,
            self.events.append,
            lambda: self.clock.now_ns / SECOND,
            Serials(),
            version=version,
            **options,
        )

    def client(self, name: str = "c", **options: Any) -> Client:
        return Client(self, name, **options)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def row(self, name: str = "q", vhost: str = "/") -> QueueRow:
        return next(row for row in self.server.rows(vhost) if row.name == name)

    def names(self) -> list[str]:
        return [row.name for row in self.server.rows()]

    def restart(self) -> None:
        self.server.stop()
        self.server.start()


class Client:
    """A connection with one channel (or more), as a client program would use it."""

    def __init__(
        self,
        scene: Scene,
        name: str,
        vhost: str = "/",
        heartbeat: int = 0,
        cancel_notify: bool = True,
        blocked_notify: bool = True,
    ) -> None:
        self.scene, self.name = scene, name
        self.sent: list[tuple[int, m.Method, tuple[Any, ...], Content | None]] = []
        self.gone: str | None = None
        self.connection = scene.server.connect(name, self._receive, self._closed)
        capabilities = {"consumer_cancel_notify": cancel_notify, "connection.blocked": blocked_notify}
        self.call(m.CONNECTION_START_OK, {"capabilities": capabilities}, "PLAIN", b"", "en_US", channel=0)
        self.call(m.CONNECTION_TUNE_OK, 2047, 131072, heartbeat, channel=0)
        self.call(m.CONNECTION_OPEN, vhost, "", False, channel=0)
        self.open()

    def _receive(self, channel: int, method: m.Method, args: tuple[Any, ...], content: Content | None) -> None:
        self.sent.append((channel, method, args, content))

    def _closed(self, reason: str) -> None:
        self.gone = reason

    def call(self, method: m.Method, *args: Any, channel: int = 1, content: Content | None = None) -> Any:
        """Send a method; gives the arguments of the first answer to it, if it is not a delivery."""
        before = len(self.sent)
        self.connection.handle(channel, method, args, content)
        for _, answer, values, _ in self.sent[before:]:
            if answer != m.BASIC_DELIVER:
                return values
        return None

    def answers(self, method: m.Method) -> list[tuple[Any, ...]]:
        """The arguments of all methods of this kind that came, and forget them."""
        found = [args for _, kind, args, _ in self.sent if kind == method]
        self.sent = [one for one in self.sent if one[1] != method]
        return found

    def take(self) -> list[Got]:
        """All deliveries that came since the last look."""
        found = []
        for _, method, args, content in self.sent:
            if method == m.BASIC_DELIVER and content is not None:
                consumer, tag, redelivered, exchange, key = args
                found.append(Got(tag, content.body.decode(), redelivered, exchange, key, consumer, content.properties))
        self.sent = [one for one in self.sent if one[1] != m.BASIC_DELIVER]
        return found

    def bodies(self) -> list[str]:
        return [got.body for got in self.take()]

    @property
    def error(self) -> tuple[int, str] | None:
        """Code and text of the close that the server sent, for a channel or the connection."""
        for _, method, args, _ in reversed(self.sent):
            if method in (m.CHANNEL_CLOSE, m.CONNECTION_CLOSE):
                return args[0], args[1]
        return None

    # --- methods

    def open(self, channel: int = 1) -> None:
        self.call(m.CHANNEL_OPEN, "", channel=channel)

    def queue(
        self,
        name: str = "q",
        *,
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        channel: int = 1,
        **arguments: Any,
    ) -> Any:
        table = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        flags = (passive, durable, exclusive, auto_delete, False)
        return self.call(m.QUEUE_DECLARE, 0, name, *flags, table, channel=channel)

    def exchange(
        self,
        name: str,
        kind: str = "direct",
        *,
        passive: bool = False,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        **arguments: Any,
    ) -> Any:
        table = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self.call(m.EXCHANGE_DECLARE, 0, name, kind, passive, durable, auto_delete, internal, False, table)

    def bind(self, queue: str, exchange: str, key: str = "", **arguments: Any) -> Any:
        table = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self.call(m.QUEUE_BIND, 0, queue, exchange, key, False, table)

    def publish(
        self,
        body: str = "m",
        key: str = "q",
        exchange: str = "",
        *,
        mandatory: bool = False,
        channel: int = 1,
        **properties: Any,
    ) -> None:
        content = Content(properties, body.encode())
        self.call(m.BASIC_PUBLISH, 0, exchange, key, mandatory, False, channel=channel, content=content)

    def consume(
        self,
        queue: str = "q",
        tag: str = "",
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        channel: int = 1,
        **arguments: Any,
    ) -> Any:
        table = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        return self.call(m.BASIC_CONSUME, 0, queue, tag, False, no_ack, exclusive, False, table, channel=channel)

    def qos(self, count: int, *, together: bool = False, channel: int = 1) -> Any:
        return self.call(m.BASIC_QOS, 0, count, together, channel=channel)

    def get(self, queue: str = "q", *, no_ack: bool = False) -> str | None:
        before = len(self.sent)
        self.call(m.BASIC_GET, 0, queue, no_ack)
        _, method, _, content = self.sent[before]
        return content.body.decode() if method == m.BASIC_GET_OK and content is not None else None

    def ack(self, tag: int, *, multiple: bool = False, channel: int = 1) -> None:
        self.call(m.BASIC_ACK, tag, multiple, channel=channel)

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True, channel: int = 1) -> None:
        self.call(m.BASIC_NACK, tag, multiple, requeue, channel=channel)

    def reject(self, tag: int, *, requeue: bool = True) -> None:
        self.call(m.BASIC_REJECT, tag, requeue)

    def close_channel(self, channel: int = 1) -> None:
        self.call(m.CHANNEL_CLOSE, 0, "", 0, 0, channel=channel)

    def close(self) -> None:
        self.call(m.CONNECTION_CLOSE, 0, "", 0, 0, channel=0)

    def die(self) -> None:
        self.connection.lost("process died")
