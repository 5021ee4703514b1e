"""The only file that reaches into redis-py: its connections go over simulated wires to simulated servers.

Everything above the socket runs as shipped: handshake, parser, pools, pipelines, locks, retries, pub/sub.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from tasksim.kernel.loop import Kernel
from tasksim.network._parts import Draws, OrderedSet
from tasksim.network.redis import RedisServer, RedisServers
from tasksim.network.stream import connect_stream
from tasksim.network.wire import Network
from tasksim.patching.table import Row, find
from tasksim.unix.socket import StreamFile, StreamSocket
from tasksim.unix.system import Unix


class RedisWorld(Protocol):
    """What the rows ask of the simulation."""

    kernel: Kernel
    unix: Unix
    network: Network
    redis: RedisServers


def open_socket(world: RedisWorld, server: RedisServer, peer: tuple[str, int]) -> StreamSocket:
    """A socket that is connected to this server.

    Raises:
        ConnectionRefusedError: the server is down or refuses.
    """
    file = StreamFile(world.unix)
    file.line = world.network.connect(server, file)
    return StreamSocket(world.unix, file, peer)


def _connect_by_name(world: RedisWorld) -> object:
    def _connect(connection: Any) -> StreamSocket:
        host, port = str(connection.host), int(connection.port)
        socket = open_socket(world, world.redis.at(host, port), (host, port))
        socket.settimeout(connection.socket_timeout)
        return socket

    return _connect


def _connect_by_path(world: RedisWorld) -> object:
    def _connect(connection: Any) -> StreamSocket:
        socket = open_socket(world, world.redis.at(str(connection.path)), (str(connection.path), 0))
        socket.settimeout(connection.socket_timeout)
        return socket

    return _connect


def _connect_async(world: RedisWorld) -> object:
    async def _connect(connection: Any) -> None:
        host, port = str(connection.host), int(connection.port)
        server = world.redis.at(host, port)
        connection._reader, connection._writer = connect_stream(world, server, (host, port))

    return _connect


def _connect_async_by_path(world: RedisWorld) -> object:
    async def _connect(connection: Any) -> None:
        path = str(connection.path)
        connection._reader, connection._writer = connect_stream(world, world.redis.at(path), (path, 0))
        await connection.on_connect()

    return _connect


# --- pools in module globals

#: What a pool holds of one process; which of them exist depends on its class.
_STATE = ("_created_connections", "_available_connections", "_in_use_connections", "pool", "_connections")
_SEAT = "_tasksim_seat"


class _Seats:
    """Which process a pool serves now, and what it holds for others.

    In life a pool in a module's global is another one in each process. Here it is one object, so its connections are
    exchanged where redis-py itself looks for a fork. While the simulation runs a pool's own `pid` is 0, which no
    process has: afterwards redis-py takes the pool for one of another process and begins anew.
    """

    __slots__ = ("kernel", "owner", "states")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.owner: Any = None
        self.states: dict[Any, dict[str, Any]] = {}


def take_seat(pool: Any, kernel: Kernel, reset: Callable[[], None]) -> None:
    """Let a pool hold what belongs to the process that runs."""
    held = vars(pool)
    seats = held.get(_SEAT)
    process = kernel.current
    if seats is not None and seats.owner is process and seats.kernel is kernel:
        return
    if seats is None or seats.kernel is not kernel:
        seats = held[_SEAT] = _Seats(kernel)
        if any(held.get(name) for name in _STATE if name != "pool"):
            reset()
    else:
        seats.states = {one: state for one, state in seats.states.items() if not one.dead}
        seats.states[seats.owner] = {name: held[name] for name in _STATE if name in held}
        mine = seats.states.pop(process, None)
        if mine is None:
            reset()
        else:
            held.update(mine)
    seats.owner = process
    if "pid" in held:
        held["pid"] = 0


def _checkpid(world: RedisWorld) -> object:
    kernel = world.kernel

    def _checkpid(pool: Any) -> None:
        seats = vars(pool).get(_SEAT)
        if seats is None or seats.owner is not kernel.current or pool.pid:
            take_seat(pool, kernel, pool.reset)

    return _checkpid


def _owns_connection(world: RedisWorld) -> object:
    kernel = world.kernel

    def owns_connection(_: Any, connection: Any) -> bool:
        return bool(connection.pid == kernel.current.pid)

    return owns_connection


def _seated(name: str) -> Callable[[RedisWorld], object]:
    """An asynchronous pool has no `_checkpid`: its public coroutines look first."""

    def make(world: RedisWorld) -> object:
        from redis.asyncio.connection import ConnectionPool

        original = vars(ConnectionPool)[name]
        kernel = world.kernel

        async def method(pool: Any, *arguments: Any, **options: Any) -> Any:
            take_seat(pool, kernel, pool.reset)
            return await original(pool, *arguments, **options)

        method.__name__ = name
        return method

    return make


# --- the table


def _nothing_yet(_: Any) -> object:
    return None


def _loses_order(_: Any) -> object:
    return OrderedSet


def _chance(world: RedisWorld) -> object:
    return Draws(world.kernel.choice.stream("redis-py"))


class _Uppercase(dict[str, Any]):
    """A table of callbacks whose names are in upper case."""


def _merged(_: Any) -> object:
    original = find("redis.client:get_response_callbacks")[0].get_response_callbacks

    @functools.cache
    def get_response_callbacks(user_protocol: Any, legacy_responses: bool) -> dict[str, Any]:
        found = original(user_protocol, legacy_responses)
        return _Uppercase((name.upper(), value) for name, value in found.items())

    return get_response_callbacks


def _fill(_: Any) -> object:
    update = dict.update
    known: list[tuple[dict[str, Any], dict[str, Any]]] = []  # the same few tables again and again

    def fill(table: Any, data: dict[str, Any]) -> None:
        if data.__class__ is _Uppercase:
            update(table, data)
            return
        upper = next((upper for seen, upper in known if seen == data), None)
        if upper is None:
            upper = {name.upper(): value for name, value in data.items()}
            if len(data) > _LARGE and len(known) < _KINDS:
                known.append((dict(data), upper))
        update(table, upper)

    return fill


#: A table of callbacks has more names than this, and there are at most so many kinds: by protocol and shape of answers.
_LARGE, _KINDS = 20, 16

_SERVER = "Redis is simulated: no connection leaves the process"
_FORK = "a pool in a module's global is shared by all simulated processes, and would be emptied at each change"
_SCRIPTS = "redis-py keeps the scripts of the first client for good, and with them that client"
_MERGES = "for speed, with the same outcome: of two tables of callbacks a third is made for each client"
_JITTER = "the jitter of redis-py's retries comes from the seed"

ROWS = (
    Row("redis.connection:Connection._connect", _SERVER, _connect_by_name),
    Row("redis.connection:SSLConnection._connect", f"{_SERVER}; encryption would change nothing", _connect_by_name),
    Row("redis.connection:UnixDomainSocketConnection._connect", _SERVER, _connect_by_path),
    Row("redis.asyncio.connection:Connection._connect", _SERVER, _connect_async),
    Row("redis.asyncio.connection:UnixDomainSocketConnection._connect", _SERVER, _connect_async_by_path),
    Row("redis.connection:ConnectionPool._checkpid", _FORK, _checkpid),
    Row("redis.connection:ConnectionPool.owns_connection", "it asks for the pool's pid, see above", _owns_connection),
    Row("redis.asyncio.connection:ConnectionPool.get_connection", _FORK, _seated("get_connection")),
    Row("redis.asyncio.connection:ConnectionPool.release", _FORK, _seated("release")),
    Row("redis.asyncio.connection:ConnectionPool.disconnect", _FORK, _seated("disconnect")),
    Row(
        "redis.connection:set",
        "a pool closes its connections in the order of a set, which is that of memory addresses",
        _loses_order,
        new=True,
    ),
    Row(
        "redis.client:CaseInsensitiveDict.__init__",
        "for speed, with the same outcome: each client fills a table of 170 names item by item, and kombu makes three "
        "clients a task",
        _fill,
    ),
    Row("redis.client:get_response_callbacks", _MERGES, _merged, needs="redis>=8"),
    Row("redis.backoff:random", _JITTER, _chance),
    Row("redis.lock:Lock.lua_release", _SCRIPTS, _nothing_yet),
    Row("redis.lock:Lock.lua_extend", _SCRIPTS, _nothing_yet),
    Row("redis.lock:Lock.lua_reacquire", _SCRIPTS, _nothing_yet),
    Row("redis.asyncio.lock:Lock.lua_release", _SCRIPTS, _nothing_yet),
    Row("redis.asyncio.lock:Lock.lua_extend", _SCRIPTS, _nothing_yet),
    Row("redis.asyncio.lock:Lock.lua_reacquire", _SCRIPTS, _nothing_yet),
)
