"""One client's connection, as the server has it: handshake, channels, heartbeats, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.channel import Channel, close_channels
from tasksim.broker.amqp.handlers import HANDLERS
from tasksim.broker.amqp.refusals import Refusal
from tasksim.broker.base import SECOND
from tasksim.events import Connected, Disconnected

if TYPE_CHECKING:
    from tasksim.broker.amqp.queue import Queue
    from tasksim.broker.amqp.server import Server
    from tasksim.broker.amqp.vhost import VirtualHost

__all__ = ["Send", "ServerConnection"]

#: (channel, method, arguments in wire order, content) -> to the client
Send = Callable[[int, m.Method, "tuple[Any, ...]", "m.Content | None"], None]

#: What RabbitMQ proposes in connection.tune (docs "configure": channel_max, frame_max, heartbeat).
TUNE = (2047, 131072, 60)
#: So long the server waits for the close-ok of a connection that it has closed (rabbit_reader: CLOSING_TIMEOUT).
CLOSING_NS = 30 * SECOND
#: What the server can do beyond the specification (docs "consumer-cancel", "confirms", "nack", ...). RabbitMQ has
#: direct_reply_to as well, which is not simulated.
CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
)


class ServerConnection:
    """The server's end of a connection.

    Attributes:
        owner: the client's process, for events.
        number: counts connections over all servers.
        vhost: set by connection.open.
        channels: open channels by number.
        exclusive: queues that go with this connection.
        cancel_notify: the client understands a basic.cancel from the server.
        open: False once either side is gone.
        held: what has arrived while an alarm blocks this connection; None if none does.
    """

    vhost: VirtualHost

    def __init__(self, server: Server, owner: str, send: Send, closed: Callable[[str], None]) -> None:
        self.server, self.shared, self.owner = server, server.shared, owner
        self._send, self._closed = send, closed
        self.number = self.shared.serials.connection()
        self.channels: dict[int, Channel] = {}
        self.exclusive: dict[Queue, None] = {}
        self.cancel_notify = self.blocked_notify = False
        self.open = True
        self.held: list[tuple[int, m.Method, tuple[Any, ...], m.Content | None]] | None = None
        self._closing = ""
        self._timer: Any = None
        self._sent = self._received = 0
        self._seen = (0, 0)
        self._silent = self._beats = 0
        self._heartbeat_ns = 0

    def __repr__(self) -> str:
        return f"<connection {self.number} of {self.owner}>"

    def greet(self) -> None:
        """connection.start: the client has connected."""
        shared = self.shared
        shared.record(Connected(shared.now(), self.owner, self.server.name, self.number))
        properties = {
            "capabilities": dict.fromkeys(CAPABILITIES, True),
            "cluster_name": f"rabbit@{self.server.name}",
            "platform": "tasksim",
            "product": "RabbitMQ",
            "version": self.server.version,
        }
        self.send(0, m.CONNECTION_START, (0, 9, properties, "PLAIN AMQPLAIN", "en_US"), None)

    def send(self, channel: int, method: m.Method, args: tuple[Any, ...], content: m.Content | None) -> None:
        """Give a method to the client."""
        if self.open:
            self._sent += 1
            self._send(channel, method, args, content)

    # --- from the client

    def handle(self, channel: int, method: m.Method, args: tuple[Any, ...], content: m.Content | None = None) -> None:
        """A method from the client, with its arguments in wire order."""
        if not self.open:
            return
        self._received += 1
        if self.held is not None:
            self.held.append((channel, method, args, content))
            return
        where = self.channels.get(channel)
        handler = HANDLERS.get(method)
        if where is None or handler is None or where.closing:
            self._control(channel, where, method, args)
            return
        try:
            handler(where, args, content)
        except Refusal as refusal:
            self.refuse(where, method, refusal)
        if self.server.alarm is not None and method == m.BASIC_PUBLISH:
            self._block(self.server.alarm)

    # --- alarms (docs "alarms", "connection-blocked")

    def _block(self, reason: str) -> None:
        """The server reads no more from a connection that publishes while there is an alarm.

        What it published first is still taken (rabbit_reader: a content makes "blocking" into "blocked"). The client is
        told if it can understand it, and while it is not read from its heartbeats are not asked for.
        """
        self.held = []
        if self.blocked_notify:
            self.send(0, m.CONNECTION_BLOCKED, (reason,), None)

    def unblock(self) -> None:
        """The alarm is over: all that has arrived is read."""
        held, self.held = self.held, None
        if held is None:
            return
        if self.blocked_notify:
            self.send(0, m.CONNECTION_UNBLOCKED, (), None)
        for one in held:
            self.handle(*one)

    def _control(self, channel: int, where: Channel | None, method: m.Method, args: tuple[Any, ...]) -> None:
        """What is not a channel's everyday work."""
        if method == m.HEARTBEAT:
            return
        if self._closing:
            # spec connection.close: after it, all but close and close-ok is discarded.
            if method == m.CONNECTION_CLOSE_OK:
                self.drop(self._closing)
            elif method == m.CONNECTION_CLOSE:
                self.send(0, m.CONNECTION_CLOSE_OK, (), None)
        elif channel == 0:
            self._on_connection(method, args)
        elif where is None:
            self._on_no_channel(channel, method)
        elif method == m.CHANNEL_CLOSE:
            if not where.closing:
                close_channels([where], "channel closed")
            del self.channels[channel]
            self.send(channel, m.CHANNEL_CLOSE_OK, (), None)
        elif method == m.CHANNEL_CLOSE_OK:
            if where.closing:
                del self.channels[channel]
        elif not where.closing:
            second = method == m.CHANNEL_OPEN
            words = "second 'channel.open' seen" if second else "unimplemented method"
            self._refuse_all(method, Refusal(504 if second else 503, words))

    def _on_no_channel(self, channel: int, method: m.Method) -> None:
        if method == m.CHANNEL_OPEN and hasattr(self, "vhost"):
            self.channels[channel] = Channel(self, channel)
            self.send(channel, m.CHANNEL_OPEN_OK, ("",), None)
        elif method == m.CHANNEL_CLOSE:
            self.send(channel, m.CHANNEL_CLOSE_OK, (), None)
        elif method != m.CHANNEL_CLOSE_OK:
            self._refuse_all(method, Refusal(504, "expected 'channel.open'"))

    def _on_connection(self, method: m.Method, args: tuple[Any, ...]) -> None:
        if method == m.CONNECTION_START_OK:
            capabilities = (args[0] or {}).get("capabilities") or {}
            self.cancel_notify = bool(capabilities.get("consumer_cancel_notify"))
            self.blocked_notify = bool(capabilities.get("connection.blocked"))
            self.send(0, m.CONNECTION_TUNE, TUNE, None)
        elif method == m.CONNECTION_TUNE_OK:
            self._begin_heartbeats(args[2])
        elif method == m.CONNECTION_OPEN:
            self.vhost = self.server.vhost(args[0])
            self.send(0, m.CONNECTION_OPEN_OK, ("",), None)
        elif method == m.CONNECTION_CLOSE:
            # What is left is given back before close-ok goes out (rabbit_reader waits for its channels).
            self._end("closed")
            self._send(0, m.CONNECTION_CLOSE_OK, (), None)
            self._closed("closed")

    # --- heartbeats (docs "heartbeats")

    def _begin_heartbeats(self, seconds: int) -> None:
        if seconds:
            self._heartbeat_ns = seconds * SECOND
            self._next_beat()

    def _next_beat(self) -> None:
        timers = self.shared.timers
        self._timer = timers.at(timers.now_ns + self._heartbeat_ns // 2, self._beat)

    def _beat(self) -> None:
        # rabbit_heartbeat: each half interval a heartbeat goes out unless something else did; each whole interval it is
        # asked whether anything came in, and the second time in a row that nothing did the connection is given up.
        sent, received = self._seen
        if self._sent == sent:
            self.send(0, m.HEARTBEAT, (), None)
        self._beats += 1
        if self._beats % 2 == 0:
            self._silent = self._silent + 1 if self._received == received and self.held is None else 0
            received = self._received
        self._seen = (self._sent, received)
        if self._silent > 1:
            self.drop(f"missed heartbeats from client, timeout: {self._heartbeat_ns // SECOND}s")
        elif self.open:
            self._next_beat()

    # --- refusing

    def refuse(self, channel: Channel, method: m.Method, refusal: Refusal) -> None:
        """Answer an error as its code demands: close the channel, or the connection."""
        if refusal.closes_connection:
            self._refuse_all(method, refusal)
            return
        channel.closing = True
        close_channels([channel], "channel closed")
        self.send(channel.number, m.CHANNEL_CLOSE, (refusal.code, refusal.text, *method), None)

    def _refuse_all(self, method: m.Method, refusal: Refusal) -> None:
        self._closing = refusal.text
        channels = list(self.channels.values())
        for channel in channels:
            channel.closing = True
        close_channels(channels, "connection closed")
        self.send(0, m.CONNECTION_CLOSE, (refusal.code, refusal.text, *method), None)
        self._stop_timer()
        self._timer = self.shared.timers.at(self.shared.timers.now_ns + CLOSING_NS, self.drop, refusal.text)

    # --- the end

    def lost(self, reason: str) -> None:
        """The client's end is gone."""
        self._end(reason)

    def drop(self, reason: str) -> None:
        """Close the socket without a word."""
        if self.open:
            self._end(reason)
            self._closed(reason)

    def hung_up(self, reason: str) -> None:
        """Tell the client's end that the socket is closed."""
        self._closed(reason)

    def _end(self, reason: str) -> None:
        if self.open:
            end_connections([self], reason)

    def leave(self, reason: str) -> list[Channel]:
        """The connection is over; gives the channels that are to be closed."""
        shared = self.shared
        self.open = False
        self._stop_timer()
        self.server.connections.pop(self.number, None)
        shared.record(Disconnected(shared.now(), self.owner, self.server.name, self.number, reason))
        channels = [channel for channel in self.channels.values() if not channel.closing]
        self.channels.clear()
        return channels

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self.shared.timers.cancel(self._timer)
            self._timer = None


def end_connections(connections: list[ServerConnection], reason: str) -> None:
    """End some connections together, so that none gets what another gives back."""
    close_channels([channel for one in connections for channel in one.leave(reason)], "connection closed")
    for one in connections:
        # docs "queues": an exclusive queue is deleted when its connection closes.
        for queue in list(one.exclusive):
            queue.delete()
