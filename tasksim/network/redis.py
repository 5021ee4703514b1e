"""Simulated Redis servers: connections, stops and restarts; data and commands are in `_fakeredis.py`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tasksim.errors import UsageError
from tasksim.events import Connected, Disconnected, Event, ServerStarted, ServerStopped
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.message import Serials
from tasksim.network._parts import Hooks
from tasksim.network.redis_config import POLICIES
from tasksim.network.wire import Wire

if TYPE_CHECKING:
    from tasksim.network._fakeredis import Store
    from tasksim.network._fakeredis_image import Image

#: Names of this machine, which reach one and the same server.
_LOCAL = {"127.0.0.1", "::1", "0.0.0.0", ""}


class _Connection:
    """The server's end of one wire."""

    def __init__(self, server: RedisServer, wire: Wire, number: int) -> None:
        self.number = number
        from tasksim.network._fakeredis_peer import Peer

        self._server, self._wire = server, wire
        address = f"127.0.0.1:{40000 + number % 20000}"
        self._peer = Peer(server.store, wire.reply, self.drop, wire.owner, address)
        self.receive = self._peer.receive

    def lost(self, reason: str) -> None:
        """The client's end is gone."""
        self._end("process died" if reason == "closed" and self._wire.owner.dead else reason)
        if self._wire.owner.dead:
            self._server.hooks.died(self._wire.owner)

    def unread(self) -> None:
        """The client has not read the last answer."""
        self._peer.unread()

    def drop(self, reason: str) -> None:
        """The server ends it."""
        if self._wire.open:
            self._end(reason)
            self._wire.hang_up()

    def cut(self, reason: str) -> None:
        """The network ends it, for both sides."""
        self._wire.cut(reason)

    def _end(self, reason: str) -> None:
        self._peer.close()
        self._server.forget(self.number, self._wire.owner.name, reason)


class RedisServer:
    """One Redis server.

    Args:
        name: as events give it.
        record: takes each event.
        now: virtual seconds since the start.
        version: of the server that is simulated.
        settings: as in redis.conf; without any, nothing outlives a restart.
        masters: what it tells when it is asked as a sentinel.

    Attributes:
        connections: open ones by number, in the order of opening.
        hooks: told of what is put into lists and of what is lost or comes back.
        replica: what its replica holds, if that hears no more of it; None as long as it keeps up.
        moves: the addresses that sentinels will tell for its names once it is promoted.
    """

    def __init__(
        self,
        name: str,
        kernel: Kernel,
        record: Callable[[Event], None],
        now: Callable[[], float],
        serials: Serials,
        *,
        version: str = "7.2",
        settings: Mapping[str, str] | None = None,
        hooks: Hooks | None = None,
        masters: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self.name, self.version = name, version
        self.running = True
        self.hooks = hooks or Hooks()
        self._masters, self._settings = masters or {}, dict(settings or {})
        self.connections: dict[int, _Connection] = {}
        self._kernel, self._record, self._now, self._serials = kernel, record, now, serials
        self.replica: Image | None = None
        self.moves: dict[str, tuple[str, int]] = {}
        self._left: Image = {}
        self.store = self._new_store()

    def _new_store(self) -> Store:
        from tasksim.network._fakeredis import Store  # slow to import, and not every simulation has a Redis

        store = Store(self._kernel, self.version, self.hooks, self._settings)
        store.masters = self._masters
        return store

    # --- connections

    def accept(self, wire: Wire) -> _Connection:
        """A client connects.

        Raises:
            ConnectionRefusedError: the server is down.
        """
        if not self.running:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        number = self._serials.connection()
        connection = self.connections[number] = _Connection(self, wire, number)
        self._record(Connected(self._now(), wire.owner.name, self.name, number))
        return connection

    def forget(self, number: int, process: str, reason: str) -> None:
        """A connection has ended."""
        del self.connections[number]
        self._record(Disconnected(self._now(), process, self.name, number, reason))

    def sever(self, number: int, reason: str = "cut") -> None:
        """Cut one connection; both sides learn of it."""
        self.connections[number].cut(reason)

    # --- up and down

    def stop(self, how: str = "stop") -> None:
        """Go down: clients are hung up on, new ones refused. Stopping twice is no error.

        Args:
            how: "stop" as SHUTDOWN and SIGTERM do, "kill" as SIGKILL does, "power" if the machine goes with it.
        """
        if not self.running:
            return
        self.running = False
        self._left = self.store.disk.left(how)
        self._record(ServerStopped(self._now(), "broker", self.name))
        for connection in list(self.connections.values()):
            connection.drop("server stopped")

    def start(self) -> None:
        """Come up again, with what was on its disk."""
        if self.running:
            return
        self.running = True
        self.take_over(self._left, "server restarted")
        self._record(ServerStarted(self._now(), "broker", self.name))

    def take_over(self, data: Image, why: str, before: RedisServer | None = None) -> None:
        """Begin anew with this data, and tell what of the data before (its own, or another server's) is not there."""
        old = (before or self).store
        new = self._new_store()
        new.begin_with(data, old, why)
        self.store, self.replica = new, None

    # --- its memory

    def fill_memory(self) -> None:
        """Its memory is used up, whatever it gives up."""
        self.store.limit_memory().full = True

    def free_memory(self) -> None:
        """It has memory again."""
        if self.store.memory is not None:
            self.store.memory.full = False

    def evict(self, keys: int, policy: str | None = None) -> None:
        """Give up so many keys, by its own policy or another.

        Raises:
            UsageError: there is no such policy, or it gives nothing up.
        """
        policy = policy or self.store.setting("maxmemory-policy")
        if policy not in POLICIES[:-1]:
            raise UsageError(f"evict(policy={policy!r}): policies that give up keys are {', '.join(POLICIES[:-1])}")
        memory = self.store.limit_memory()
        for _ in range(keys):
            if not memory.evict(policy):
                break

    # --- its replica

    def lose_replica(self) -> None:
        """From now on its replica hears nothing of what is written."""
        from tasksim.network._fakeredis_image import take

        self.replica = take(self.store)

    def keep_history(self, seconds: float) -> None:
        """From now on it is known what a replica so many seconds behind has."""
        self.store.keep_history(round(seconds * SECOND))

    def replicated(self, lost: float) -> Image:
        """What a replica has that is so many seconds behind, or that has heard no more.

        Raises:
            UsageError: nobody has kept what was there then.
        """
        from tasksim.network._fakeredis_image import take

        if self.replica is not None:
            return self.replica
        if not lost:
            return take(self.store)
        history, moment_ns = self.store.history, self._kernel.now_ns - round(lost * SECOND)
        if history is None or not history.keep_ns:
            raise UsageError(
                f"failover(lost={lost:g}): nobody has kept what {self.name} held {lost:g} s ago. Plan it with at= or "
                "when=, or let sim.stop_replication() say from when on the replica hears nothing"
            )
        return history.at(moment_ns)

    # --- looks from outside

    def databases(self) -> list[int]:
        """Numbers of the databases that somebody has selected."""
        return sorted(self.store.dbs)

    def lengths(self, database: int = 0) -> dict[str, int]:
        """The lists of one database and how long they are."""
        return {key.decode(errors="replace"): len(values) for key, values in self.store.lists(database).items()}

    def unacked(self, database: int = 0, key: str = "unacked") -> int:
        """How many messages kombu's acknowledgement emulation holds there."""
        return self.store.size(database, key.encode())


class RedisServers:
    """The servers of one simulation by address, made when first asked for.

    Args:
        version, settings: for servers that are made from now on.
        masters: addresses by name; each server also answers as a sentinel that knows them.

    Attributes:
        hooks: of all of them.
    """

    def __init__(
        self,
        kernel: Kernel,
        record: Callable[[Event], None],
        now: Callable[[], float],
        serials: Serials,
        *,
        version: str = "7.2",
        settings: Mapping[str, str] | None = None,
        masters: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self.version, self.settings, self._masters = version, settings, dict(masters or {})
        self.hooks = Hooks()
        self._kernel, self._record, self._now, self._serials = kernel, record, now, serials
        self._by_address: dict[tuple[str, int], RedisServer] = {}
        #: Servers whose place another has taken: nobody is there any more.
        self._replaced: dict[tuple[str, int], RedisServer] = {}
        self._count, self._keep, self._note = 0, 0.0, False

    def at(self, host: str, port: int = 0) -> RedisServer:
        """The server at this address, or at this path of a Unix socket (no port)."""
        address = _plain(host), port
        server = self._by_address.get(address) or self._replaced.get(address)
        if server is None:
            server = self._by_address[address] = self._make()
        return server

    def keep_history(self, seconds: float) -> None:
        """From now on it is known of each server what it held so many seconds ago."""
        if seconds:
            self._keep = max(self._keep, seconds)
            for server in self._by_address.values():
                server.keep_history(self._keep)

    def note_use(self, policy: str | None) -> None:
        """From now on it is known when each key is used, if this policy asks for it."""
        if policy is not None and policy.endswith(("lru", "lfu")):
            self._note = True
            for server in self._by_address.values():
                server.keep_history(0.0)

    def _make(self) -> RedisServer:
        self._count += 1
        server = self._new()
        if self._keep or self._note:
            server.keep_history(self._keep)
        return server

    def _new(self) -> RedisServer:
        return RedisServer(
            "redis" if self._count == 1 else f"redis-{self._count}",
            self._kernel,
            self._record,
            self._now,
            self._serials,
            version=self.version,
            settings=self.settings,
            hooks=self.hooks,
            masters=self._masters,
        )

    def all(self) -> list[RedisServer]:
        """In the order of their first use."""
        return list(self._by_address.values())

    def masters(self) -> list[RedisServer]:
        """Those that hold data: of servers that sentinels tell of only those, else all."""
        if not self._masters:
            return self.all()
        return [self.at(*address) for address in self._masters.values()]

    # --- failover

    def fail_over(self, old: RedisServer, lost: float) -> RedisServer:
        """A server is gone for good; gives the one that will be master in its place once it is promoted.

        Where sentinels tell of it, the new one is at another port. Elsewhere it is at the same address: a name or a
        virtual address has moved, as hosted services do it.
        """
        data = old.replicated(lost)
        address = next(address for address, server in self._by_address.items() if server is old)
        old.stop("kill")
        new = self._make()
        new.running = False
        new.take_over(data, "failover", old)
        names = self._names(address)
        if names:
            del self._by_address[address]
            self._replaced[address] = old
            port = max(port for _, port in [*self._by_address, *self._replaced]) + 1
            new.moves = dict.fromkeys(names, ("127.0.0.1", port))
            self._by_address[address[0], port] = new
        else:
            self._by_address[address] = new
        return new

    def _names(self, address: tuple[str, int]) -> list[str]:
        """The names under which sentinels know an address."""
        return [name for name, (host, port) in self._masters.items() if (_plain(host), port) == address]

    def promote(self, new: RedisServer) -> None:
        """It is the master now, and sentinels tell so."""
        self._masters.update(new.moves)
        new.running = True
        self._record(ServerStarted(self._now(), "broker", new.name))


def _plain(host: str) -> str:
    return "localhost" if host in _LOCAL else host
