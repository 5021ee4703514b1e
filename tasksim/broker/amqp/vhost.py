"""A virtual host: its exchanges and queues by name, and the routes between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasksim.broker.amqp.dead_letters import DeadLetters
from tasksim.broker.amqp.exchange import Exchange
from tasksim.broker.amqp.queue import Queue

if TYPE_CHECKING:
    from tasksim.broker.base import Shared
    from tasksim.message import Message

__all__ = ["VirtualHost"]

#: Predeclared in each virtual host (docs "exchanges", spec 3.1.3); the default exchange has no object of its own.
PREDECLARED = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.topic": "topic",
}
#: So many routes are remembered.
_ROUTES = 4096


class VirtualHost:
    """Exchanges and queues.

    Attributes:
        exchanges, queues: by name, in the order of declaring.
        absent: durable queues whose node is down; nothing is routed to them.
        letters: dead letters on their way from queue to queue.
    """

    def __init__(self, name: str, shared: Shared) -> None:
        self.name, self.shared = name, shared
        self.queues: dict[str, Queue] = {}
        self.absent: dict[str, Queue] = {}
        self.letters = DeadLetters()
        self.exchanges: dict[str, Exchange] = {}
        for exchange, kind in PREDECLARED.items():
            self.exchanges[exchange] = Exchange(exchange, kind, durable=True)
        # Remembered until anything is declared, bound or deleted.
        self._routes: dict[tuple[str, str], tuple[Queue, ...]] = {}

    # --- routing

    def route(self, message: Message) -> Sequence[Queue]:
        """The queues that a message goes to, each once, by its exchange and routing key."""
        exchange, key = message.exchange, message.routing_key
        if not exchange:
            # Each queue is bound to the default exchange by its name (spec 3.1.3.1).
            queue = self.queues.get(key)
            return () if queue is None else (queue,)
        route = self._routes.get((exchange, key))
        if route is None:
            headers = message.properties.get("application_headers") or {}
            route, by_headers = self._resolve(exchange, key, headers)
            if not by_headers:
                if len(self._routes) >= _ROUTES:
                    self._routes.clear()
                self._routes[exchange, key] = route
        return route

    def _resolve(self, name: str, key: str, headers: dict[str, Any]) -> tuple[tuple[Queue, ...], bool]:
        # rabbit_exchange:route1: a message passes each exchange once, whatever the circles of bindings.
        queues: dict[Queue, None] = {}
        names, seen, by_headers = [name], {name}, False
        while names:
            exchange = self.exchanges.get(names.pop(0))
            if exchange is None:
                continue
            by_headers = by_headers or exchange.kind == "headers"
            found = list(exchange.destinations(key, headers))
            for destination in found:
                if isinstance(destination, Queue):
                    if destination.name not in self.absent:
                        queues[destination] = None
                elif destination.name not in seen:
                    seen.add(destination.name)
                    names.append(destination.name)
            if not found and exchange.alternate is not None and exchange.alternate not in seen:
                seen.add(exchange.alternate)
                names.append(exchange.alternate)
        return tuple(queues), by_headers

    # --- topology

    def add_exchange(self, exchange: Exchange) -> None:
        """Declare an exchange."""
        self.exchanges[exchange.name] = exchange
        self._routes.clear()

    def add_queue(self, queue: Queue) -> None:
        """Declare a queue."""
        self.queues[queue.name] = queue

    def bind(self, source: Exchange, destination: Queue | Exchange, key: str, arguments: dict[str, Any]) -> None:
        """Bind a queue or an exchange to an exchange."""
        if source.bind(destination, key, arguments):
            self._routes.clear()

    def unbind(self, source: Exchange, destination: Queue | Exchange, key: str, arguments: dict[str, Any]) -> None:
        """Remove a binding; none is no error (docs "amqp-0-9-1-errata": idempotent since 3.2)."""
        if source.unbind(destination, key, arguments):
            self._routes.clear()
            self._auto_delete(source)

    def remove_exchange(self, exchange: Exchange) -> None:
        """Delete an exchange with the bindings from it and to it."""
        del self.exchanges[exchange.name]
        for binding in exchange.bindings.values():
            binding.destination.incoming.pop(exchange, None)
        exchange.bindings.clear()
        self._unbound(exchange)

    def remove_queue(self, queue: Queue) -> None:
        """Forget a queue and the bindings to it."""
        self.queues.pop(queue.name, None)
        self._unbound(queue)

    def _unbound(self, destination: Queue | Exchange) -> None:
        self._routes.clear()
        for source in list(destination.incoming):
            if source.forget(destination):
                self._auto_delete(source)
        destination.incoming.clear()

    def _auto_delete(self, exchange: Exchange) -> None:
        # spec exchange.declare.auto-delete: gone when the last binding from it is.
        if exchange.auto_delete and not exchange.bindings and exchange.name in self.exchanges:
            self.remove_exchange(exchange)

    # --- restart, and the loss of a node

    def restart(self, lost_from_ns: int | None = None) -> None:
        """Lose what is not durable (docs "queues", "Durability"); see `Queue.go_down`."""
        for queue in list(self.queues.values()):
            if queue.durable:
                queue.go_down(lost_from_ns)
            else:
                queue.delete("server restarted")
        for exchange in list(self.exchanges.values()):
            if not exchange.durable and exchange.name in self.exchanges:
                self.remove_exchange(exchange)

    def lose_node(self, lost_from_ns: int | None) -> None:
        """The node that hosts all classic queues is gone.

        What is durable waits for it, what is not is deleted (docs "classic-queues", "clustering"); quorum queues go on
        with another leader (docs "quorum-queues"). Exchanges are on all nodes.
        """
        for queue in list(self.queues.values()):
            if queue.quorum:
                queue.go_down(lost_from_ns, "failover")
            elif queue.durable:
                queue.go_down(lost_from_ns, "failover")
                self.absent[queue.name] = self.queues.pop(queue.name)
            else:
                queue.delete("failover")
        self._routes.clear()

    def node_back(self) -> None:
        """The node is there again, with its queues."""
        for queue in self.absent.values():
            self.queues[queue.name] = queue
            queue.come_up()
        self.absent.clear()
        self._routes.clear()
