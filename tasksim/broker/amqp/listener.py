"""The server at the end of wires: whole methods come in and go out, each as (channel, method, arguments, content)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tasksim.broker.amqp.methods import Method
    from tasksim.broker.amqp.server import Server
    from tasksim.message import Content

__all__ = ["AmqpListener", "Payload"]

Payload = tuple[int, "Method", "tuple[Any, ...]", "Content | None"]


class _Owner(Protocol):
    name: str


class Line(Protocol):
    """What is needed of a wire."""

    @property
    def owner(self) -> _Owner:
        """The process that connected."""

    def reply(self, payload: Any) -> None:
        """Send to the client."""

    def hang_up(self) -> None:
        """Close; what was sent before still arrives."""


class AmqpListener:
    """Accepts wires for a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.name

    def accept(self, wire: Line) -> AmqpEnd:
        """A client connects.

        Raises:
            ConnectionRefusedError: the server is down.
        """
        return AmqpEnd(self.server, wire)


class AmqpEnd:
    """The server's end of one wire.

    Attributes:
        connection: the server's connection.
    """

    def __init__(self, server: Server, wire: Line) -> None:
        self._wire = wire
        self.connection = server.connect(wire.owner.name, self._send, self._closed)

    def _send(self, channel: int, method: Method, args: tuple[Any, ...], content: Content | None) -> None:
        self._wire.reply((channel, method, args, content))

    def _closed(self, _reason: str) -> None:
        self._wire.hang_up()

    def receive(self, payload: Payload) -> None:
        """A method has arrived."""
        self.connection.handle(*payload)

    def lost(self, reason: str) -> None:
        """The client's end is gone."""
        self.connection.lost(reason)

    def unread(self) -> None:
        """Nothing: what was delivered and not acknowledged goes back."""
