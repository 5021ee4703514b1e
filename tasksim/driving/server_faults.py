"""What can go wrong with servers: the app's broker, its result store, or any other by the name that events give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasksim.broker.amqp.server import Server
from tasksim.driving.arguments import duration, duration_or_ever, whole
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

    #: How often each kind of fault has begun, or been ended by hand, on each server.
    _generations: dict[tuple[str, str], int]

    def _supersede(self, kind: str, server: Any) -> None:
        """What ends an earlier one of this kind by itself no longer counts."""
        self._generations[kind, server.name] = self._generations.get((kind, server.name), 0) + 1

    def _later(self, kind: str, server: Any, seconds: float, action: Callable[[], object]) -> None:
        """End it so many seconds from now, unless another one of this kind has begun by then."""
        begun = self._generations.get((kind, server.name), 0)

        def end() -> None:
            if self._generations.get((kind, server.name), 0) == begun:
                action()

        self._plan(self._world.now() + seconds, end)

    # --- refusing

    def refuse(
        self, seconds: float | None = None, *, server: str = "broker", at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """The server refuses new connections, for so long or until `accept`."""
        self._ensure_begun()
        seconds = duration_or_ever("refuse(seconds", seconds)
        refusing = self._world.network.refusing

        def act(one: Any) -> None:
            self._supersede("refuse", one)
            refusing.add(one.name)
            if seconds is not None:
                self._later("refuse", one, seconds, lambda: refusing.discard(one.name))

        self._on_servers("refuse", server, act, at, when)

    def accept(self, *, server: str = "broker", at: float | None = None, when: Pattern | None = None) -> None:
        """The server accepts connections again."""
        self._ensure_begun()
        refusing = self._world.network.refusing

        def act(one: Any) -> None:
            self._supersede("refuse", one)
            refusing.discard(one.name)

        self._on_servers("accept", server, act, at, when)

    # --- memory

    def alarm(
        self, seconds: float | None = None, *, reason: str = "low on memory", server: str = "broker",
        at: float | None = None, when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """The server's memory is used up (RabbitMQ: or its disk), for so long or until `clear_alarm`.

        RabbitMQ blocks who publishes. Redis refuses what writes, or gives up keys first, as its maxmemory-policy says.
        """
        seconds = duration_or_ever("alarm(seconds", seconds)

        def act(one: Server | RedisServer) -> None:
            self._supersede("alarm", one)
            if isinstance(one, Server):
                one.raise_alarm(reason)
            else:
                one.fill_memory()
            if seconds is not None:
                self._later("alarm", one, seconds, lambda: _clear_alarm(one))

        self._on_servers("alarm", server, act, at, when)

    def clear_alarm(self, *, server: str = "broker", at: float | None = None, when: Pattern | None = None) -> None:
        """There is memory again; what clients that RabbitMQ blocked have published is taken in."""

        def act(one: Server | RedisServer) -> None:
            self._supersede("alarm", one)
            _clear_alarm(one)

        self._on_servers("clear_alarm", server, act, at, when)

    def evict(
        self, keys: int = 1, *, policy: str | None = None, server: str = "broker", at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """Redis gives up so many keys, by its maxmemory-policy or another one; fewer if that leaves no more."""
        self._ensure_begun()
        whole("evict(keys", keys, 0)
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
        self._ensure_begun()
        network = self._world.network
        delay, seconds = duration("slow(delay", delay), duration_or_ever("slow(seconds", seconds)

        def act(one: Any) -> None:
            self._supersede("slow", one)
            network.slow_down(one.name, delay)
            if seconds is not None:
                self._later("slow", one, seconds, lambda: network.slow_down(one.name, 0.0))

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
        down, lost = duration("restart_broker(down", down), duration("restart_broker(lost", lost)
        if lost and how == "stop":
            raise UsageError('restart_broker(lost=...): a server that stops in order loses none; give how="kill"')

        def act(one: Server | RedisServer) -> None:
            self._supersede("down", one)
            if isinstance(one, Server):
                one.stop(how, lost)
            elif lost:
                raise UsageError("restart_broker(lost=...): what Redis loses follows from its redis_config")
            else:
                one.stop(how)
            self._later("down", one, down, one.start)

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
        lost, down = duration("failover(lost", lost), duration("failover(down", down)
        back = duration_or_ever("failover(back", back)
        if at is not None or when is not None:
            self._world.redis.keep_history(lost)

        def act(one: Server | RedisServer) -> None:
            redis = self._world.redis
            self._supersede("down", one)
            if isinstance(one, Server):
                one.lose_node(lost)
                self._later("down", one, down, one.start)
                if back is not None:
                    self._later("away", one, max(back, down), one.node_back)
            elif one in redis.masters():
                new = redis.fail_over(one, lost)
                self._later("down", one, down, lambda: redis.promote(new))

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
