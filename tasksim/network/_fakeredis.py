"""The only file that reaches into fakeredis: its commands, made event-driven, ordered and free of threads.

fakeredis keeps the data and runs the commands. Taken out are its lock, its conditions and its queues (nothing parks
inside a command, so nothing needs them) and its sets (their order follows memory addresses). Written new is what a real
server does around a command: read, run, let the clients that are blocked try again, first come first served, reply.

fakeredis reads `time.time()` at each command, so expiry is in virtual time wherever that is replaced.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import redis
from fakeredis import _msgs as msgs
from fakeredis._core import CommandItem, FakeServer
from fakeredis._core._database import Database
from fakeredis._helpers import QUEUED, NoResponse, SimpleError, SimpleString, casematch
from fakeredis._socket import FakeSocket
from fakeredis._socket._resp import extract_command

from tasksim.kernel.loop import SECOND, Kernel
from tasksim.network._parts import Blocked, Draws, NoLock, OrderedSet
from tasksim.network._resp import Commands, ProtocolError, encode, encode_as, error, push, status
from tasksim.patching.table import Row

encode_as(SimpleString, lambda value, _: status(value.value))
encode_as(SimpleError, lambda value, _: error(value.value))


class _Keyspace(Database):
    """One numbered database."""

    _watches: Any

    def __init__(self, store: Store) -> None:
        super().__init__(None)
        self._store = store
        self._watches = defaultdict(OrderedSet)

    def notify_watch(self, key: bytes) -> None:
        watchers = self._watches.get(key)
        if watchers:
            for peer in list(watchers):
                peer.notify_watch()
        if self._store.blocked:
            self._store.touched.add(key)

    def wake_all(self) -> None:
        self._store.all_touched = True

    def swap(self, other: Database) -> None:
        super().swap(other)
        self._store.all_touched = True


class Store(FakeServer):
    """The data of one server, its subscribers and its blocked clients.

    Attributes:
        blocked: in the order in which they blocked.
        touched: keys that changed since the blocked clients were last served; `all_touched` means any key.
    """

    lock: Any
    dbs: Any
    subscribers: Any
    psubscribers: Any
    ssubscribers: Any

    def __init__(self, kernel: Kernel, version: str) -> None:
        super().__init__(version=tuple(int(part) for part in version.split(".")))
        self.kernel = kernel
        self.version_text = version
        self.lock = NoLock()
        self.dbs = _Databases(self)
        self.subscribers = defaultdict(OrderedSet)
        self.psubscribers = defaultdict(OrderedSet)
        self.ssubscribers = defaultdict(OrderedSet)
        self.blocked: dict[Peer, Blocked] = {}
        self.touched: set[bytes] = set()
        self.all_touched = False

    def serve(self) -> None:
        """Let the blocked clients try again, in the order in which they blocked."""
        while self.blocked and (self.touched or self.all_touched):
            touched, self.touched = self.touched, set()
            everybody, self.all_touched = self.all_touched, False
            for peer, blocked in list(self.blocked.items()):
                keys = blocked.keys
                if everybody or keys is None or not keys.isdisjoint(touched):
                    peer.try_again()
        self.touched.clear()
        self.all_touched = False

    def restart(self) -> None:
        """What a restart from saved data forgets: scripts."""
        self.script_cache.clear()

    # --- looks from outside; nothing here counts as a command

    def _value(self, database: int, key: bytes) -> Any:
        keyspace = self.dbs.get(database)
        item = None if keyspace is None else keyspace._dict.get(key)
        if item is None or (item.expireat is not None and item.expireat < time.time()):
            return None
        return item.value

    def size(self, database: int, key: bytes) -> int:
        """How many elements a list, hash, set or sorted set has; 0 if it is not there."""
        value = self._value(database, key)
        return 0 if value is None or isinstance(value, bytes) else len(value)

    def elements(self, database: int, key: bytes) -> list[bytes]:
        """The elements of a list, the left one first."""
        value = self._value(database, key)
        return list(value) if isinstance(value, list) else []

    def fields(self, database: int, key: bytes) -> dict[bytes, bytes]:
        """The fields of a hash."""
        value = self._value(database, key)
        return {} if value is None or isinstance(value, (bytes, list)) else dict(value.items())

    def lists(self, database: int) -> dict[bytes, int]:
        """The lists of one database with their lengths."""
        keyspace = self.dbs.get(database)
        items = {} if keyspace is None else keyspace._dict
        return {key: len(item.value) for key, item in items.items() if isinstance(item.value, list)}


class _Databases(dict[int, _Keyspace]):
    """Databases by number, made when first selected."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, number: int) -> _Keyspace:
        keyspace = self[number] = _Keyspace(self._store)
        return keyspace


class Peer(FakeSocket):
    """The server's end of one connection: reads commands, runs them, replies.

    Args:
        reply: takes the bytes for the client.
        drop: called when the server itself ends the connection, with the reason.
        address: the client's, as CLIENT LIST gives it.
    """

    _server: Any
    _db: Any

    def __init__(self, store: Store, reply: Callable[[bytes], None], drop: Callable[[str], None], address: str) -> None:
        self._reply, self._drop = reply, drop
        self._commands = Commands()
        self._out: list[bytes] = []
        self._running = False
        info = {"addr": address, "laddr": "127.0.0.1:6379", "resp": 2}
        super().__init__(store, 0, client_class=redis.Redis, client_info=info)

    # --- reading and replying

    def receive(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._server is not None:
            self._commands.feed(data)
            self._go_on()

    def _go_on(self) -> None:
        """Run what has arrived, up to a command that blocks."""
        if self._running:
            return
        self._running = True
        try:
            while not self._paused:
                fields = self._commands.next()
                if fields is None:
                    break
                if fields:
                    self._process_command(fields)
        except ProtocolError as exc:
            self._out.append(error(f"ERR Protocol error: {exc}"))
            self._flush()
            self._drop("protocol error")
        finally:
            self._running = False
        self._flush()

    def _flush(self) -> None:
        if self._out and self._server is not None:
            data = b"".join(self._out)
            self._out.clear()
            self._reply(data)

    def put_response(self, msg: Any) -> None:
        """Tell a subscriber; fakeredis calls this for nothing else once `_process_command` is ours."""
        self._out.append(push(msg, self._client_info.protocol_version))
        if not self._running:
            self._flush()

    def _process_command(self, fields: list[bytes]) -> None:
        store = self._server
        name, arguments = extract_command(fields)
        ran = False
        try:
            function, signature = self._name_to_func(name)
            store.acl.validate_command(self._client_info.user, self._client_info, fields)
            now = time.time()
            for keyspace in store.dbs.values():
                keyspace.time = now
            signature.check_arity(arguments, store.version)
            if self._transaction is not None and msgs.FLAG_TRANSACTION not in signature.flags:
                self._transaction.append((function, signature, arguments))
                result: Any = QUEUED
            else:
                ran = True
                result = self._run_command(function, signature, arguments, False)
        except SimpleError as exc:
            result = self._refused(name, exc, ran)
        quiet = self._reply_off or self._reply_skip
        self._reply_skip, self._reply_skip_next = self._reply_skip_next, False
        if not quiet and type(result) is not NoResponse:
            self._out.append(encode(result, self._client_info.protocol_version))
        if store.blocked:
            store.serve()

    def _refused(self, name: str, exc: SimpleError, ran: bool) -> SimpleError:
        """An error while queueing spoils the transaction (redis.io, Transactions: errors inside a transaction)."""
        if self._transaction is not None and not ran:
            self._transaction_failed = True
        if name == "exec" and exc.value.startswith("ERR "):
            exc.value = f"EXECABORT Transaction discarded because of: {exc.value[4:]}"
            self._forget_transaction()
            self._clear_watches()
        return exc

    # --- blocking

    def _blocking(
        self, timeout: float | None, func: Callable[[bool], Any], shape: Callable[[Any], Any] | None = None
    ) -> Any:
        result = func(True)
        if result is not None or self._in_transaction:
            return result if shape is None else shape(result)
        kernel = self._server.kernel
        timer = kernel.at(kernel.now_ns + round(timeout * SECOND), self.try_again, True) if timeout else None
        self._server.blocked[self] = Blocked(func, shape, timer)
        self._blocked = self._paused = True
        return NoResponse()

    def try_again(self, last: bool = False) -> None:
        """A blocked client's turn: something changed, or (`last`) its time is up."""
        store = self._server
        blocked = store.blocked.get(self) if store is not None else None
        if blocked is None:
            return
        try:
            result = None
            if self._unblock_reason is not None:
                last = True
                self._take_unblock_reason()
            elif not last:
                result = blocked.attempt(False)
                if result is None:
                    return
            if blocked.shape is not None:
                result = blocked.shape(result)
        except SimpleError as exc:
            result = exc
        self._unblock()
        self._out.append(encode(result, self._client_info.protocol_version))
        self._go_on()

    def _unblock(self) -> None:
        blocked = self._server.blocked.pop(self, None)
        if blocked is not None and blocked.timer is not None:
            self._server.kernel.cancel(blocked.timer)
        self._blocked = self._paused = False
        self._unblock_reason = None

    # --- the end

    def kill(self) -> None:
        """CLIENT KILL: the connection ends after the replies that are due."""
        self._server.kernel.soon(self._drop, "killed by CLIENT KILL")

    def close(self) -> None:
        """Forget everything of this connection."""
        store = self._server
        if store is None:
            return
        self._unblock()
        self._discard_subscriptions()
        self._clear_watches()
        store.sockets.remove(self)
        self._server = self._db = None

    # --- commands that fakeredis gives other answers to than a server of this version

    def hello(self, *args: bytes) -> dict[str, Any]:
        """HELLO, with the server's own name and version; any password is right."""
        found: dict[str, Any] = super().hello(*_without_auth(args))
        found.update(server="redis", version=self._server.version_text)
        return found

    def auth(self, *_: bytes) -> Any:
        """AUTH: any password is right."""
        return SimpleString(b"OK")

    def client_maint_notifications(self, *_: bytes) -> Any:
        """Known to Redis Enterprise only; redis-py asks, and goes on without."""
        raise SimpleError("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.")

    def blmove(self, first: CommandItem, second: CommandItem, src: bytes, dst: bytes, timeout: float) -> Any:
        """BLMOVE; fakeredis moves a nil when the source is empty."""
        return self._blocking(timeout, functools.partial(self._move, first.key, second.key, src, dst))

    def _move(self, source: bytes, target: bytes, src: bytes, dst: bytes, first_pass: bool) -> Any:
        del first_pass
        lists = self._db
        if not CommandItem(source, lists, item=lists.get(source)):
            return None
        items = [CommandItem(key, lists, item=lists.get(key), default=[]) for key in dict.fromkeys((source, target))]
        result = self._lmove(items[0], items[-1], src, dst, False)
        for item in items:
            item.writeback()
        return result

    def eval(self, script: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        """EVAL; `math.random` begins anew in each script, as a server's does (redis.io, Lua API: math.random)."""
        if b"random" in script:
            self._get_server_runtime(self._server).execute("math.randomseed(0)")
        return super().eval(script, numkeys, *keys_and_args)

    def _keyspace_notifications(self, command_items: list[CommandItem], event: bytes) -> None:
        """Off unless configured (redis.io, Keyspace notifications); fakeredis always sends them."""
        if self._server.config.get(b"notify-keyspace-events"):
            super()._keyspace_notifications(command_items, event)


def _without_auth(arguments: tuple[bytes, ...]) -> tuple[bytes, ...]:
    for index, argument in enumerate(arguments):
        if casematch(argument, b"auth"):
            return arguments[:index] + arguments[index + 3 :]
    return arguments


def _draws(world: Any) -> object:
    return Draws(world.kernel.choice.stream("redis"))


def _members_in_order(_: Any) -> object:
    def iterate(members: Any) -> Any:
        members._expire_members()
        return iter(list(members._values))

    return iterate


_CHANCE = "SPOP, SRANDMEMBER, RANDOMKEY and their like draw from the seed"

ROWS = (
    Row("fakeredis._core._database:random", _CHANCE, _draws),
    Row("fakeredis.model._expiring_members_set:random", _CHANCE, _draws),
    Row("fakeredis.model._topk:random", _CHANCE, _draws),
    Row("fakeredis.commands_mixins.hash_mixin:random", _CHANCE, _draws),
    Row("fakeredis.commands_mixins.sortedset_mixin:random", _CHANCE, _draws),
    Row(
        "fakeredis.model._expiring_members_set:ExpiringMembersSet.__iter__",
        "the members of a set come in the order of hashes, which differs from run to run",
        _members_in_order,
    ),
)
