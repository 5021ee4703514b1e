"""One place for what a connection can suffer: latency, a cut, a half-open silence, a refusal.

A payload is whatever the two ends agree on: bytes for Redis, a whole method for AMQP. Order within one direction of a
wire is kept whatever the latency.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from tasksim.errors import UsageError
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.kernel.process import Process


class ServerEnd(Protocol):
    """What a server has for each connection."""

    def receive(self, payload: Any) -> None:
        """A payload has arrived."""

    def lost(self, reason: str) -> None:
        """The other side is gone."""

    def unread(self) -> None:
        """Of what it has sent the last was not read, and nobody will."""


class ClientEnd(Protocol):
    """What a client has.

    Attributes:
        unread: something has arrived and was not read yet.
    """

    @property
    def unread(self) -> bool: ...

    def feed(self, payload: Any) -> None:
        """A payload has arrived."""

    def hang_up(self) -> None:
        """The other side is gone; nothing more will arrive."""


class Listener(Protocol):
    """A server that can be connected to."""

    name: str

    def accept(self, wire: Wire) -> ServerEnd:
        """A client connects."""


class _Direction:
    """Payloads on their way, in order."""

    __slots__ = ("arrive", "held", "kernel", "last_due_ns", "on_the_way")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.arrive: Callable[[Any], None] = lambda _: None
        self.on_the_way: deque[Any] = deque()
        self.held: list[Any] | None = None
        self.last_due_ns = 0

    def put(self, payload: Any, latency_ns: int) -> None:
        if self.held is not None:
            self.held.append(payload)
        elif latency_ns or self.on_the_way:
            self.last_due_ns = max(self.last_due_ns, self.kernel.now_ns + latency_ns)
            self.on_the_way.append(payload)
            self.kernel.at(self.last_due_ns, self._next)
        else:
            self.arrive(payload)

    def _next(self) -> None:
        if self.on_the_way:
            payload = self.on_the_way.popleft()
            if self.held is not None:
                self.held.append(payload)
            else:
                self.arrive(payload)

    def hold(self) -> None:
        if self.held is None:
            self.held = []

    def release(self, latency_ns: int) -> None:
        held, self.held = self.held, None
        for payload in held or ():
            self.put(payload, latency_ns)

    @property
    def busy(self) -> bool:
        """Something is on its way, or held."""
        return bool(self.on_the_way or self.held)

    def clear(self) -> None:
        self.on_the_way.clear()
        self.held = None if self.held is None else []
        self.arrive = lambda _: None


class Wire:
    """One connection.

    Attributes:
        owner: the process that opened it.
        number: counts connections of this network.
        down_ns: how long a payload takes from the server to the client.
    """

    def __init__(self, network: Network, server: Listener, client: ClientEnd, owner: Process, number: int) -> None:
        self._network, self.server, self._client = network, server, client
        self.owner, self.number = owner, number
        self.open, self._missed = True, False
        self.down_ns = network.latency_ns + network.slow.get(server.name, 0)
        self._up, self._down = _Direction(network.kernel), _Direction(network.kernel)
        self._down.arrive = client.feed
        self._server_end = server.accept(self)
        self._up.arrive = self._server_end.receive
        self._urgent = network.kernel.agenda.urgent_ones

    def send(self, payload: Any) -> None:
        """From the client to the server."""
        if not self.open:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        up, latency_ns = self._up, self._network.latency_ns
        if latency_ns or up.on_the_way or up.held is not None:
            up.put(payload, latency_ns)
        else:
            up.arrive(payload)
            if self._urgent:
                self._network.kernel.give_way()

    def reply(self, payload: Any) -> None:
        """From the server to the client."""
        if self.open:
            down, latency_ns = self._down, self.down_ns
            if latency_ns or down.on_the_way or down.held is not None:
                down.put(payload, latency_ns)
            else:
                down.arrive(payload)
        else:
            self._missed = True

    def close(self, reason: str = "closed") -> None:
        """The client's end is closed: by itself, or because its process is gone. What it sent before still arrives."""
        server_end, up, latency_ns = self._server_end, self._up, self._network.latency_ns
        if self._client.unread or self._down.busy:
            server_end.unread()
        if self.open and (latency_ns or up.on_the_way or up.held is not None):

            def lost() -> None:
                if self._missed:
                    server_end.unread()
                server_end.lost(reason)

            self._down.clear()
            self._end_after(up, latency_ns, lost)
        elif self._end():
            server_end.lost(reason)

    def hang_up(self) -> None:
        """The server closes; what it sent before still arrives."""
        if not self.open:
            return
        client, latency_ns = self._client, self.down_ns
        if latency_ns or self._down.on_the_way or self._down.held is not None:
            self._up.clear()
            self._end_after(self._down, latency_ns, client.hang_up)
        elif self._end():
            client.hang_up()

    def _end_after(self, direction: _Direction, latency_ns: int, tell: Callable[[], None]) -> None:
        """Nothing more is sent; the other end is told after the last of what is on its way."""
        arrive = direction.arrive

        def last(payload: Any) -> None:
            if payload is self:
                self._finish()
                tell()
            else:
                arrive(payload)

        direction.arrive, self.open = last, False
        direction.put(self, latency_ns)

    def cut(self, reason: str = "cut") -> None:
        """Both ends learn at once that the connection is lost, and what is on the way is lost with it."""
        if self._down.busy:
            self._server_end.unread()
        if self._end():
            self._server_end.lost(reason)
            self._client.hang_up()

    def freeze(self) -> None:
        """Half-open: nothing passes, nobody is told."""
        self._up.hold()
        self._down.hold()

    def thaw(self) -> None:
        """What was held passes now."""
        self._up.release(self._network.latency_ns)
        self._down.release(self.down_ns)

    def _finish(self) -> None:
        self.open = False
        self._network.wires.pop(self.number, None)

    def _end(self) -> bool:
        if not self.open:
            return False
        self._finish()
        self._up.clear()
        self._down.clear()
        return True


class Network:
    """All addresses and wires of one simulation.

    Attributes:
        latency: seconds that a payload takes, one way.
        latency_ns_max: the longest that it has been.
        wires: connections by number, until both ends know of their end.
        refusing: names of servers that accept no new connections.
        slow: how much longer replies of a server take, by its name.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.latency_ns = 0
        self.latency_ns_max = 0
        self.wires: dict[int, Wire] = {}
        self.refusing: set[str] = set()
        self.slow: dict[str, int] = {}
        self.on_connect: Callable[[], None] = lambda: None
        self._number = 0

    @property
    def latency(self) -> float:
        """Seconds, one way."""
        return self.latency_ns / SECOND

    @latency.setter
    def latency(self, seconds: float) -> None:
        if seconds < 0:
            raise UsageError(f"latency={seconds!r}: give seconds, 0 or more")
        self.latency_ns = round(seconds * SECOND)
        self._measure()

    def slow_down(self, server: str, seconds: float) -> None:
        """Each reply of a server takes so much longer from now on."""
        self.slow[server] = round(seconds * SECOND)
        self._measure()

    def _measure(self) -> None:
        slowest_ns = max(self.slow.values(), default=0)
        self.latency_ns_max = max(self.latency_ns_max, self.latency_ns + slowest_ns)
        for wire in self.wires.values():
            wire.down_ns = self.latency_ns + self.slow.get(wire.server.name, 0)

    def connect(self, server: Listener, client: ClientEnd) -> Wire:
        """Connect the running process to a server.

        Raises:
            ConnectionRefusedError: as a server that is down or refuses would answer.
        """
        self.on_connect()
        if server.name in self.refusing:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._number += 1
        wire = Wire(self, server, client, self.kernel.process_of_caller(), self._number)
        self.wires[wire.number] = wire
        return wire

    def of(self, processes: list[Any]) -> list[Wire]:
        """Open connections that these processes opened, in the order of opening."""
        return [wire for wire in self.wires.values() if wire.owner in processes]
