"""One case on a server, real or simulated, through py-amqp; what each step showed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import amqp

from tasksim.broker.amqp.listener import AmqpListener
from tasksim.broker.amqp.methods import FROM_CLIENT, FROM_SERVER
from tasksim.broker.amqp.server import Server
from tasksim.events import Event
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.message import Serials
from tasksim.network import amqp_seam
from tasksim.network.wire import Network
from tasksim.patching.table import Patches
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix
from tests.differential.amqp_cases import CHANNELS, EXCHANGES, PAUSE_MS, QUEUES
from tests.differential.cases import Case, Operation

#: The version of the real server.
VERSION = "3.10.8"
#: Seconds that a real server may take until a step shows what the model showed.
PATIENCE = 3.0
#: Which connection each channel is on.
CONNECTION_OF = (0, 0, 1)


@dataclass
class Step:
    """What one operation led to: the answer, what came to each channel, and the queues afterwards."""

    answer: Any = None
    came: dict[int, dict[str, list[Any]]] = field(default_factory=dict)
    tags: dict[int, list[int]] = field(default_factory=dict)
    queues: dict[int, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"answer {self.answer!r}, came {self.came!r}, tags {self.tags!r}, queues {self.queues!r}"


def _error(exc: BaseException) -> tuple[str, int, str]:
    text = str(getattr(exc, "reply_text", "") or exc)
    return ("error", int(getattr(exc, "reply_code", 0) or 0), text)


class Session:
    """The clients of one case: two connections, three channels, and one that only looks."""

    def __init__(self, connections: Connections, prefix: str, pause: Callable[[], None]) -> None:
        self.connections, self.prefix, self.pause = connections, prefix, pause
        self.channels: list[Any] = [None] * CHANNELS
        self.held: list[dict[int, tuple[str, str]]] = [{} for _ in range(CHANNELS)]
        self.tags: list[list[str]] = [[] for _ in range(CHANNELS)]
        self.count, self.closed = 0, False
        self.step = Step()
        for number in range(CHANNELS):
            self.open(number)

    # --- names

    def queue(self, number: int) -> str:
        return f"{self.prefix}q{number}"

    def exchange(self, number: int) -> str:
        return "" if number < 0 else f"{self.prefix}x{number}"

    def plain(self, value: Any) -> Any:
        """Without what differs between two runs: the case's prefix and the time of a death."""
        if isinstance(value, str):
            return value.replace(self.prefix, "")
        if isinstance(value, dict):
            return {self.plain(name): "now" if name == "time" else self.plain(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(one) for one in value]
        return value

    # --- channels

    def open(self, number: int) -> None:
        """A new channel in place of one that is closed."""
        channel = self.channels[number] = self.connections.get(CONNECTION_OF[number]).channel()
        self.held[number], self.tags[number] = {}, []
        channel.events["basic_return"].add(
            lambda exc, exchange, key, message: self.came(number, "returned", exc.code, exchange, key, message.body)
        )
        channel.events["basic_ack"].add(lambda tag, multiple: self.came(number, "confirms", "ack", tag))
        channel.events["basic_nack"].add(lambda tag, multiple: self.came(number, "confirms", "nack", tag))

    def came(self, number: int, what: str, *values: Any) -> None:
        self.step.came.setdefault(number, {}).setdefault(what, []).append(self.plain(list(values)))

    def delivered(self, number: int, no_ack: bool, message: Any) -> None:
        """A consumer got a message."""
        info = message.delivery_info
        tag, body = info["delivery_tag"], message.body
        if not no_ack:
            self.held[number][tag] = (info["consumer_tag"], body)
        self.step.tags.setdefault(number, []).append(tag)
        self.came(number, info["consumer_tag"], *self.content(info, message))

    def content(self, info: dict[str, Any], message: Any) -> list[Any]:
        """What a delivery says."""
        redelivered = info["redelivered"]
        if self.closed and "x-death" in (message.properties.get("application_headers") or {}):
            # It may have gone to a consumer of the same channel, whose end its queue had not heard of yet, and back.
            redelivered = None
        return [message.body, redelivered, info["exchange"], info["routing_key"], message.properties]

    # --- steps

    def run(self, operation: Operation) -> Step:
        """Do one thing, and look at what came of it."""
        self.step = Step()
        try:
            self.step.answer = self.plain(getattr(self, "do_" + operation.kind.replace(" ", "_"))(operation))
            self.sync(operation.channel)
        except (amqp.AMQPError, OSError) as exc:
            self.step.answer = self.plain(_error(exc))
        self.reopen()
        return self.step

    def reopen(self) -> None:
        """Put new channels in place of closed ones."""
        for number, channel in enumerate(self.channels):
            self.closed = self.closed or not channel.is_open
            if not channel.is_open or channel.connection is None or not channel.connection.connected:
                self.open(number)

    def sync(self, number: int) -> None:
        """The server has done all that this channel asked for, and all that it said has been read."""
        self.channels[number].exchange_declare("amq.direct", "direct", passive=True)

    def look(self, queues: dict[int, Any] | None = None) -> None:
        """Read what has come to any channel, and count the queues (those that the other arm saw)."""
        for number in range(QUEUES) if queues is None else queues:
            self.step.queues[number] = self.connections.count(self.queue(number))
        for number in range(CHANNELS):
            try:
                self.sync(number)
            except amqp.RecoverableConnectionError as exc:
                self.came(number, "error", *_error(exc))
            except (amqp.AMQPError, OSError) as exc:
                self.came(number, "error", *_error(exc))
        self.reopen()
        for tags in self.step.tags.values():
            tags.sort()

    # --- operations

    def do_declare_queue(self, op: Operation) -> Any:
        arguments = dict(op.options["arguments"])
        exchange = arguments.get("x-dead-letter-exchange")
        if exchange is not None:
            arguments["x-dead-letter-exchange"] = self.exchange(exchange)
        key = arguments.get("x-dead-letter-routing-key")
        if isinstance(key, int):
            arguments["x-dead-letter-routing-key"] = self.queue(key)
        flags = {"durable": True, "auto_delete": False, **op.options["flags"]}
        return tuple(
            self.channels[op.channel].queue_declare(self.queue(op.options["queue"]), arguments=arguments, **flags)
        )

    def do_passive(self, op: Operation) -> Any:
        return tuple(self.channels[op.channel].queue_declare(self.queue(op.options["queue"]), passive=True))

    def do_delete_queue(self, op: Operation) -> Any:
        return self.channels[op.channel].queue_delete(self.queue(op.options["queue"]), **op.options["flags"])

    def do_purge(self, op: Operation) -> Any:
        return self.channels[op.channel].queue_purge(self.queue(op.options["queue"]))

    def do_declare_exchange(self, op: Operation) -> None:
        options = op.options
        alternate = options["alternate"]
        arguments = {} if alternate is None else {"alternate-exchange": self.exchange(alternate)}
        flags = {"durable": True, "auto_delete": False, **options["flags"]}
        self.channels[op.channel].exchange_declare(
            self.exchange(options["exchange"]), options["kind"], arguments=arguments, **flags
        )

    def do_delete_exchange(self, op: Operation) -> None:
        self.channels[op.channel].exchange_delete(
            self.exchange(op.options["exchange"]), if_unused=op.options["if_unused"]
        )

    def do_bind(self, op: Operation) -> None:
        options = op.options
        names = self.queue(options["queue"]), self.exchange(options["exchange"]), options["key"]
        self.channels[op.channel].queue_bind(*names, arguments=options["arguments"])

    def do_unbind(self, op: Operation) -> None:
        options = op.options
        names = self.queue(options["queue"]), self.exchange(options["exchange"]), options["key"]
        self.channels[op.channel].queue_unbind(*names, arguments=options["arguments"])

    def do_bind_exchange(self, op: Operation) -> None:
        names = self.exchange(op.options["destination"]), self.exchange(op.options["source"])
        self.channels[op.channel].exchange_bind(*names, op.options["key"])

    def do_publish(self, op: Operation) -> None:
        options = op.options
        self.count += 1
        properties = {name: options[name] for name in ("priority", "expiration") if options[name] is not None}
        if options["headers"]:
            properties["application_headers"] = dict(options["headers"])
        body = str(self.count).rjust(options["body"], "m")
        to, key = options["to"], options["key"]
        exchange = "" if to >= 0 else self.exchange(-1 - to)
        self.channels[op.channel].basic_publish(
            amqp.Message(body, delivery_mode=2, **properties),
            exchange=exchange,
            routing_key=self.queue(to) if key is None else key,
            mandatory=options["mandatory"],
        )

    def do_confirms(self, op: Operation) -> None:
        self.channels[op.channel].confirm_select()

    def do_get(self, op: Operation) -> Any:
        no_ack = op.options["no_ack"]
        message = self.channels[op.channel].basic_get(self.queue(op.options["queue"]), no_ack=no_ack)
        if message is None:
            return "empty"
        info = message.delivery_info
        if not no_ack:
            self.held[op.channel][info["delivery_tag"]] = ("", message.body)
        self.step.tags.setdefault(op.channel, []).append(info["delivery_tag"])
        return [*self.content(info, message), info["message_count"]]

    def do_consume(self, op: Operation) -> None:
        options, number = op.options, op.channel
        priority, no_ack = options["priority"], options["no_ack"]
        self.count += 1
        tag = f"t{self.count}"
        self.channels[number].basic_consume(
            self.queue(options["queue"]),
            tag,
            no_ack=no_ack,
            exclusive=options["exclusive"],
            callback=lambda message: self.delivered(number, no_ack, message),
            on_cancel=lambda one: self.came(number, "cancelled", one),
            arguments=None if priority is None else {"x-priority": priority},
        )
        self.tags[number].append(tag)

    def do_cancel(self, op: Operation) -> None:
        tags = self.tags[op.channel]
        if tags:
            self.channels[op.channel].basic_cancel(tags.pop(op.options["which"] % len(tags)))

    def do_qos(self, op: Operation) -> None:
        self.channels[op.channel].basic_qos(0, op.options["count"], op.options["together"])

    def _held(self, op: Operation) -> tuple[int, bool] | None:
        """The delivery that is meant, by its consumer and body: of tags two arms may have dealt in another order."""
        held, multiple = self.held[op.channel], op.options.get("multiple", False)
        if op.options["which"] < 0:
            return 99, False
        if not held:
            return None
        if multiple and len({consumer for consumer, _ in held.values()}) > 1:
            held.clear()
            return 0, True
        ordered = sorted(held, key=lambda tag: (held[tag], tag))
        tag = ordered[op.options["which"] % len(ordered)]
        for one in [one for one in held if one == tag or (multiple and one < tag)]:
            del held[one]
        return tag, multiple

    def do_ack(self, op: Operation) -> None:
        meant = self._held(op)
        if meant:
            self.channels[op.channel].basic_ack(*meant)

    def do_nack(self, op: Operation) -> None:
        meant = self._held(op)
        if meant:
            self.channels[op.channel].send_method((60, 120), "Lbb", (*meant, op.options["requeue"]))

    def do_reject(self, op: Operation) -> None:
        meant = self._held(op)
        if meant:
            self.channels[op.channel].basic_reject(meant[0], op.options["requeue"])

    def do_recover(self, op: Operation) -> None:
        self.held[op.channel].clear()
        self.channels[op.channel].basic_recover(requeue=True)

    def do_close_channel(self, op: Operation) -> None:
        self.closed = True
        self.channels[op.channel].close()
        self.reopen()

    def do_close_connection(self, _: Operation) -> None:
        # Of a connection with several channels the server closes one after the other, in an order of its own.
        self.closed = True
        self.connections.close(CONNECTION_OF[2])
        self.open(2)

    # --- the end

    def clean_up(self) -> None:
        """Leave nothing on the server."""
        self.connections.clean_up(
            [self.queue(number) for number in range(QUEUES)], [self.exchange(number) for number in range(EXCHANGES)]
        )
        for channel in self.channels:
            if channel.is_open and channel.connection.connected:
                channel.close()


class Connections:
    """Connections that outlive a case, made anew when the server has closed one; the third one only looks."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._open: dict[int, amqp.Connection] = {}
        self._watching: Any = None

    def get(self, number: int) -> amqp.Connection:
        connection = self._open.get(number)
        if connection is None or not connection.connected:
            connection = self._open[number] = amqp.Connection(self.address, heartbeat=0)
            connection.connect()
        return connection

    def close(self, number: int) -> None:
        connection = self._open.pop(number, None)
        if connection is not None and connection.connected:
            connection.close()

    def _watcher(self) -> Any:
        if self._watching is None or not self._watching.is_open:
            self._watching = self.get(3).channel()
        return self._watching

    def count(self, name: str) -> Any:
        """Ready messages and consumers of a queue; what the server says if it cannot be looked at."""
        try:
            return tuple(self._watcher().queue_declare(name, passive=True))[1:]
        except amqp.ChannelError as exc:
            return exc.reply_code

    def clean_up(self, queues: list[str], exchanges: list[str]) -> None:
        for name in queues:
            try:
                self._watcher().queue_delete(name)
            except amqp.ChannelError:
                self.close(0), self.close(1)  # an exclusive one goes with its connection
        for name in exchanges:
            self._watcher().exchange_delete(name)


class Model:
    """The simulated arm: a server of its own for each case."""

    def __init__(self, version: str = VERSION) -> None:
        self.kernel = Kernel(UnixProcess(1, "client"))
        self.unix, self.network = Unix(self.kernel), Network(self.kernel)
        self.events: list[Event] = []
        now = lambda: self.kernel.now_ns / SECOND  # noqa: E731
        self.server = Server("rabbit", self.kernel, self.events.append, now, Serials(), version=version)
        listener = AmqpListener(self.server)
        self.amqp_seam = amqp_seam.AmqpSeam(
            self.unix, self.network, lambda host, port: listener, FROM_CLIENT, FROM_SERVER
        )

    @contextmanager
    def inside(self) -> Iterator[None]:
        """py-amqp connects to the model."""
        patches = Patches()
        patches.install(amqp_seam.ROWS, self)
        try:
            yield
        finally:
            patches.restore()
            self.kernel.close()

    def run(self, case: Case) -> list[Step]:
        """All steps of a case."""
        with self.inside():
            session = Session(Connections("model:5672"), "c0000000.", lambda: self.kernel.sleep(PAUSE_MS / 1000))
            steps = []
            for operation in case.operations:
                step = session.run(operation)
                if case.timed:
                    session.pause()
                session.look()
                steps.append(step)
            return steps


def run_real(connections: Connections, prefix: str, case: Case, expected: list[Step]) -> str | None:
    """Run a case on a real server beside what the model did; gives the first difference."""
    session = Session(connections, prefix, lambda: time.sleep(PAUSE_MS / 1000))
    try:
        for number, (operation, wanted) in enumerate(zip(case.operations, expected, strict=True)):
            step = session.run(operation)
            if case.timed:
                session.pause()
            deadline = time.monotonic() + PATIENCE
            session.look()
            while step != wanted and time.monotonic() < deadline:
                time.sleep(0.01)
                session.look()
            if step != wanted:
                return f"step {number}, {operation!r}:\n  real:  {step}\n  model: {wanted}"
        return None
    finally:
        session.clean_up()
