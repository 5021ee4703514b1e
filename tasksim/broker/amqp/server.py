"""The server: connections, virtual hosts, and what survives a restart."""

from __future__ import annotations

import errno
from collections.abc import Callable

from tasksim.broker.amqp.connection import Send, ServerConnection, end_connections
from tasksim.broker.amqp.vhost import VirtualHost
from tasksim.broker.base import SECOND, Shared, Timers
from tasksim.broker.snapshot import QueueRow, table
from tasksim.events import Event, ServerStarted, ServerStopped
from tasksim.message import Serials

__all__ = ["Server"]


class Server:
    """A RabbitMQ server in this process.

    Args:
        name: as events name it.
        timers: the clock and agenda it lives on.
        record: takes its events.
        now: the time for events, in seconds.
        serials: numbers shared with other servers of the simulation.
        version: whose rules hold; also what clients are told.
        consumer_timeout: seconds that a delivery may stay unacknowledged; None for ever (docs "consumers": 30 minutes
            by default since 3.8.17).
        epoch_ns: what the wall clock showed when `timers.now_ns` was 0; x-death tells it.

    Attributes:
        connections: open ones by number, in the order of connecting.
        running: whether it is up.
        alarm: what it lacks ("low on memory", "low on disk"); None if nothing.
    """

    def __init__(
        self,
        name: str,
        timers: Timers,
        record: Callable[[Event], None],
        now: Callable[[], float],
        serials: Serials,
        *,
        version: str = "4.1",
        consumer_timeout: float | None = 1800.0,
        epoch_ns: int = 0,
    ) -> None:
        self.name = name
        # Clients read three numbers.
        self.version = version if version.count(".") > 1 else f"{version}.0"
        self.shared = Shared(timers, record, now, serials, version, consumer_timeout, epoch_ns)
        self.connections: dict[int, ServerConnection] = {}
        self.alarm: str | None = None
        self.vhosts: dict[str, VirtualHost] = {}

    def __repr__(self) -> str:
        return f"<RabbitMQ {self.version} {self.name}>"

    def __str__(self) -> str:
        return table(self.rows())

    @property
    def running(self) -> bool:
        """The server is up."""
        return self.shared.running

    def connect(self, owner: str, send: Send, closed: Callable[[str], None]) -> ServerConnection:
        """A client connects, and is greeted.

        Args:
            owner: the client's process, as events will name it.
            send: gives a method to the client.
            closed: tells that the server has closed the socket.

        Raises:
            ConnectionRefusedError: the server is down.
        """
        if not self.running:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        connection = ServerConnection(self, owner, send, closed)
        self.connections[connection.number] = connection
        connection.greet()
        return connection

    def vhost(self, name: str) -> VirtualHost:
        """A virtual host, made when it is first asked for: there is nobody here who would have configured it."""
        found = self.vhosts.get(name)
        if found is None:
            found = self.vhosts[name] = VirtualHost(name, self.shared)
        return found

    # --- what may happen to it

    def sever(self, connection: ServerConnection, reason: str = "cut") -> None:
        """Close a connection's socket without a word."""
        connection.drop(reason)

    def raise_alarm(self, reason: str) -> None:
        """Memory or disk runs low: who publishes from now on is blocked (docs "alarms")."""
        self.alarm = reason

    def clear_alarm(self) -> None:
        """There is enough again."""
        self.alarm = None
        for connection in list(self.connections.values()):
            connection.unblock()

    def stop(self, how: str = "stop", lost: float = 0.0) -> None:
        """Go down: all connections end, and what is not durable is lost.

        As in an orderly stop of RabbitMQ the connections end before the queues do, so auto-delete queues in use are
        gone as well, and what was unacknowledged is back in its queue. Unlike there, clients are not told why (320
        CONNECTION_FORCED): they see what they see when a server dies.

        Args:
            how: "stop", or "kill" or "power", after which what is not on the disk is gone.
            lost: seconds of messages that were not: those persistent ones for which nobody waits for a confirm
                (docs "confirms": messages are written in batches, after some hundred milliseconds).
        """
        self._go_down(lambda vhost: vhost.restart(None if how == "stop" else self._lost_from_ns(lost)))

    def lose_node(self, lost: float = 0.0) -> None:
        """Of a cluster the node is lost to which all clients have connected; see `VirtualHost.lose_node`.

        Args:
            lost: seconds of unconfirmed messages that had reached no other node, nor the disk.
        """
        self._go_down(lambda vhost: vhost.lose_node(self._lost_from_ns(lost)))

    def node_back(self) -> None:
        """The lost node has come back, and its classic queues with it."""
        for vhost in self.vhosts.values():
            vhost.node_back()

    def _lost_from_ns(self, lost: float) -> int | None:
        return self.shared.timers.now_ns - round(lost * SECOND) if lost else None

    def _go_down(self, lose: Callable[[VirtualHost], None]) -> None:
        if not self.running:
            return
        connections = list(self.connections.values())
        end_connections(connections, "server stopped")
        self.shared.running = False
        for vhost in self.vhosts.values():
            lose(vhost)
        self.shared.record(ServerStopped(self.shared.now(), "broker", self.name))
        for connection in connections:
            connection.hung_up("server stopped")

    def start(self) -> None:
        """Come up again, with what is durable."""
        if self.running:
            return
        self.shared.running = True
        self.shared.record(ServerStarted(self.shared.now(), "broker", self.name))
        for vhost in self.vhosts.values():
            for queue in list(vhost.queues.values()):
                queue.come_up()

    # --- what it holds

    def rows(self, vhost: str | None = None) -> list[QueueRow]:
        """All queues, in the order of declaring; of one virtual host if asked."""
        hosts = self.vhosts.values() if vhost is None else [self.vhosts[vhost]] if vhost in self.vhosts else []
        return [queue.row() for host in hosts for queue in host.queues.values()]

    def waiting(self) -> int:
        """How many messages will still move by themselves.

        Those that are unacknowledged, those ready in a queue with a consumer that acknowledges, and those that go on to
        a dead-letter exchange when their time to live ends.
        """
        shared = self.shared
        if not shared.flowing:
            return shared.unacked + sum([queue.ready for queue in shared.served])
        return shared.unacked + sum([queue.ready for queue in {**shared.served, **shared.flowing}])
