"""What can go wrong with servers: the app's broker, its result store, or any other by the name that events give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasksim.broker.amqp.server import Server
from tasksim.driving.faulting import Faulting
from tasksim.errors import UsageError
from tasksim.network.redis import RedisServer
from tasksim.trace.pattern import Pattern

__all__ = ["ENDS", "ServerFaults"]

#: How a server may go down: in order, as by SIGKILL, or with its whole machine.
ENDS = ("stop", "kill", "power")


class ServerFaults(Faulting):
    """Faults of servers. `server` is "broker", "backend", or a name as in events ("redis", "rabbitmq-2")."""

    def _on_servers(
        self, kind: str, server: str, action: Callable[[Any], object], at: float | None, when: Pattern | None
    ) -> None:
        self._fault(kind, server, lambda: [action(one) for one in self._world.servers(server)], at, when)

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self._plan(self._world.now() + seconds, action)

    # --- refusing

    def refuse(
        self, seconds: float | None = None, *, server: str = "broker", at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """The server refuses new connections, for so long or until `accept`."""
        refusing = self._world.network.refusing

        def act(one: Any) -> None:
            refusing.add(one.name)
            if seconds is not None:
                self._later(seconds, lambda: refusing.discard(one.name))

        self._on_servers("refuse", server, act, at, when)

    def accept(self, *, server: str = "broker", at: float | None = None, when: Pattern | None = None) -> None:
        """The server accepts connections again."""
        refusing = self._world.network.refusing
        self._on_servers("accept", server, lambda one: refusing.discard(one.name), at, when)

    # --- memory

    def alarm(
        self, seconds: float | None = None, *, reason: str = "low on memory", server: str = "broker",
        at: float | None = None, when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """The server's memory is used up (RabbitMQ: or its disk), for so long or until `clear_alarm`.

        RabbitMQ blocks who publishes. Redis refuses what writes, or gives up keys first, as its maxmemory-policy says.
        """

        def act(one: Server | RedisServer) -> None:
            if isinstance(one, Server):
                one.raise_alarm(reason)
            else:
                one.fill_memory()
            if seconds is not None:
                self._later(seconds, lambda: _clear_alarm(one))

        self._on_servers("alarm", server, act, at, when)

    def clear_alarm(self, *, server: str = "broker", at: float | None = None, when: Pattern | None = None) -> None:
        """There is memory again; what clients that RabbitMQ blocked have published is taken in."""
        self._on_servers("clear_alarm", server, _clear_alarm, at, when)

    def evict(
        self, keys: int = 1, *, policy: str | None = None, server: str = "broker", at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """Redis gives up so many keys, by its maxmemory-policy or another one; fewer if that leaves no more."""
        self._ensure_begun()
        self._world.redis.note_use(policy)

        def act(one: Server | RedisServer) -> None:
            _need_redis(one, "evict").evict(keys, policy)

        self._on_servers("evict", server, act, at, when)

    # --- slowness

    def slow(
        self, delay: float, seconds: float | None = None, *, server: str = "broker", at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """Each reply of the server takes `delay` seconds longer, for so long or until `slow(0)`."""
        network = self._world.network
        if delay < 0:
            raise UsageError(f"slow(delay={delay!r}): give seconds, 0 or more")

        def act(one: Any) -> None:
            network.slow_down(one.name, delay)
            if seconds is not None:
                self._later(seconds, lambda: network.slow_down(one.name, 0.0))

        self._on_servers("slow", server, act, at, when)

    # --- restart and failover

    def restart_broker(
        self, down: float = 0.0, *, how: str = "stop", lost: float = 0.0, server: str = "broker",
        at: float | None = None, when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """The server goes down, and comes up again after `down` seconds with what it has kept.

        Args:
            down: seconds in which it refuses connections.
            how: "stop" (in order), "kill" (SIGKILL) or "power" (the machine goes too).
            lost: RabbitMQ, not in order: seconds of persistent messages without a confirm that the disk has not got.
            server: which one.
            at, when: seconds since the start, or a pattern.
        """
        if how not in ENDS:
            raise UsageError(f"restart_broker(how={how!r}): a server can go down by {', '.join(ENDS)}")
        if lost and how == "stop":
            raise UsageError('restart_broker(lost=...): a server that stops in order loses none; give how="kill"')

        def act(one: Server | RedisServer) -> None:
            if isinstance(one, Server):
                one.stop(how, lost)
            elif lost:
                raise UsageError("restart_broker(lost=...): what Redis loses follows from its redis_config")
            else:
                one.stop(how)
            self._later(down, one.start)

        self._on_servers("restart" if how == "stop" else f"restart {how}", server, act, at, when)

    def stop_replication(self, *, server: str = "broker", at: float | None = None, when: Pattern | None = None) -> None:
        """The replica of a Redis server hears nothing from now on; the next `failover` makes it the master."""

        def act(one: Server | RedisServer) -> None:
            _need_redis(one, "stop_replication").lose_replica()

        self._on_servers("stop_replication", server, act, at, when)

    def failover(
        self, lost: float = 0.0, *, down: float = 0.0, back: float | None = None, server: str = "broker",
        at: float | None = None, when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """The server is gone, and after `down` seconds another one takes its place.

        Redis: a replica that has not got what was written in the last `lost` seconds. RabbitMQ: another node of the
        cluster, with the quorum queues; messages without a confirm of the last `lost` seconds are gone, and classic
        queues wait until their node is back, `back` seconds from now (None: for good).
        """
        self._ensure_begun()
        if at is not None or when is not None:
            self._world.redis.keep_history(lost)

        def act(one: Server | RedisServer) -> None:
            redis = self._world.redis
            if isinstance(one, Server):
                one.lose_node(lost)
                self._later(down, one.start)
                if back is not None:
                    self._later(max(back, down), one.node_back)
            elif one in redis.masters():
                new = redis.fail_over(one, lost)
                self._later(down, lambda: redis.promote(new))

        self._on_servers("failover", server, act, at, when)


def _clear_alarm(server: Server | RedisServer) -> None:
    if isinstance(server, Server):
        server.clear_alarm()
    else:
        server.free_memory()


def _need_redis(server: Server | RedisServer, kind: str) -> RedisServer:
    if isinstance(server, Server):
        raise UsageError(f"{kind}: {server.name} is no Redis server; name one with server=")
    return server
