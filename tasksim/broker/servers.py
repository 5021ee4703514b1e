"""Simulated servers by address."""

from __future__ import annotations

from collections.abc import Callable

from tasksim.broker.amqp.listener import AmqpListener
from tasksim.broker.amqp.server import Server

_LOCAL = {"127.0.0.1", "::1", "0.0.0.0", ""}


class AmqpServers:
    """RabbitMQ servers, made when first asked for."""

    def __init__(self, make: Callable[[str], Server]) -> None:
        self._make = make
        self._by_address: dict[tuple[str, int], AmqpListener] = {}

    def at(self, host: str, port: int) -> AmqpListener:
        """The server at this address."""
        host = "localhost" if host in _LOCAL else host
        listener = self._by_address.get((host, port))
        if listener is None:
            count = len(self._by_address) + 1
            listener = AmqpListener(self._make("rabbitmq" if count == 1 else f"rabbitmq-{count}"))
            self._by_address[host, port] = listener
        return listener

    def all(self) -> list[Server]:
        """In the order of their first use."""
        return [listener.server for listener in self._by_address.values()]
