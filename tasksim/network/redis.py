"""Simulated Redis servers: connections, stops and restarts; data and commands are in `_fakeredis.py`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tasksim.events import Connected, Disconnected, Event, ServerStarted, ServerStopped
from tasksim.kernel.loop import Kernel
from tasksim.message import Serials
from tasksim.network._parts import Hooks
from tasksim.network.wire import Wire

if TYPE_CHECKING:
    from tasksim.network._fakeredis import Store

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
        persistent: data outlives a restart.
        masters: what it tells when it is asked as a sentinel.

    Attributes:
        connections: open ones by number, in the order of opening.
        hooks: told of what is put into lists and of what is lost.
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
        persistent: bool = False,
        hooks: Hooks | None = None,
        masters: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self.name, self.version, self.persistent = name, version, persistent
        self.running = True
        self.hooks = hooks or Hooks()
        self._masters = masters or {}
        self.connections: dict[int, _Connection] = {}
        self._kernel, self._record, self._now, self._serials = kernel, record, now, serials
        self.store = self._new_store()

    def _new_store(self) -> Store:
        from tasksim.network._fakeredis import Store  # slow to import, and not every simulation has a Redis

        store = Store(self._kernel, self.version, self.hooks)
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

    def stop(self) -> None:
        """Go down: clients are hung up on, new ones refused. Stopping twice is no error."""
        if not self.running:
            return
        self.running = False
        self._record(ServerStopped(self._now(), "broker", self.name))
        for connection in list(self.connections.values()):
            connection.drop("server stopped")

    def start(self) -> None:
        """Come up again, with the data only if the server is persistent."""
        if self.running:
            return
        self.running = True
        if self.persistent:
            self.store.restart()
        else:
            self.store.lose("server restarted")
            writes, self.store = self.store.writes, self._new_store()
            self.store.writes = writes + 1
        self._record(ServerStarted(self._now(), "broker", self.name))

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
        version, persistent: for servers that are made from now on.
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
        persistent: bool = False,
        masters: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self.version, self.persistent, self._masters = version, persistent, masters
        self.hooks = Hooks()
        self._kernel, self._record, self._now, self._serials = kernel, record, now, serials
        self._by_address: dict[tuple[str, int], RedisServer] = {}

    def at(self, host: str, port: int = 0) -> RedisServer:
        """The server at this address, or at this path of a Unix socket (no port)."""
        host = "localhost" if host in _LOCAL else host
        server = self._by_address.get((host, port))
        if server is None:
            count = len(self._by_address) + 1
            server = self._by_address[host, port] = self._make("redis" if count == 1 else f"redis-{count}")
        return server

    def _make(self, name: str) -> RedisServer:
        return RedisServer(
            name,
            self._kernel,
            self._record,
            self._now,
            self._serials,
            version=self.version,
            persistent=self.persistent,
            hooks=self.hooks,
            masters=self._masters,
        )

    def all(self) -> list[RedisServer]:
        """In the order of their first use."""
        return list(self._by_address.values())
