"""fakeredis' data, made event-driven, ordered and free of threads.

With `_fakeredis_peer.py` the only file that reaches into fakeredis. Taken out are its lock and its conditions (nothing
parks inside a command, so nothing needs them) and its sets (their order follows memory addresses).

fakeredis reads `time.time()` at each command, so expiry is in virtual time wherever that is replaced.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from fakeredis._core import FakeServer
from fakeredis._core._database import Database
from fakeredis.model import Hash

from tasksim.kernel.loop import Kernel
from tasksim.network._fakeredis_disk import Disk
from tasksim.network._fakeredis_image import History, Image, load
from tasksim.network._fakeredis_memory import Memory
from tasksim.network._parts import Blocked, Draws, Held, Hooks, NoLock, OrderedSet
from tasksim.network.redis_config import DEFAULTS
from tasksim.patching.table import Row

__all__ = ["ROWS", "Store"]


class _Keyspace(Database):
    """One numbered database."""

    _watches: Any

    def __init__(self, store: Store, number: int) -> None:
        super().__init__(None)
        self._store, self._number = store, number
        self._watches = defaultdict(OrderedSet)

    def notify_watch(self, key: bytes) -> None:
        watchers = self._watches.get(key)
        if watchers:
            for peer in list(watchers):
                peer.notify_watch()
        store = self._store
        store.writes += 1
        if store.blocked:
            store.touched.add(key)
        if store.followed:
            store.changed(self._number, key)

    def wake_all(self) -> None:
        self._store.all_touched = True

    def swap(self, other: Database) -> None:
        super().swap(other)
        self._store.all_touched = True
        self._store.swapped()


class Store(FakeServer):
    """The data of one server, its subscribers and its blocked clients.

    Attributes:
        blocked: in the order in which they blocked.
        writes: counts changes of keys.
        touched: keys that changed since the blocked clients were last served; `all_touched` means any key.
        restricted: somebody has used an ACL command: from then on it is asked who may do what.
        logins: passwords by user, if they are to be asked for; None lets any user in with any password, as whatever an
            app's URL says is right.
        masters: addresses by name, as this server tells them when it is asked as a sentinel.
        disk: its snapshots and its log.
        memory: how much it may use; None while there is no limit.
        history: what it held before; None unless somebody may ask.
        followed: somebody wants to know of each change: the rules for snapshots, or the limit of memory.
        stale: keys that changed since their size was measured.
        gone: another server has taken its place.
    """

    lock: Any
    dbs: Any
    subscribers: Any
    psubscribers: Any
    ssubscribers: Any

    def __init__(self, kernel: Kernel, version: str, hooks: Hooks, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(version=tuple(int(part) for part in version.split(".")))
        self.config = {name.encode(): value.encode() for name, value in (settings or {}).items()}
        self.kernel, self.hooks = kernel, hooks
        self.followed = self.watched = self.gone = False
        self.history: History | None = None
        self.memory: Memory | None = None
        self.stale: dict[tuple[int, bytes], None] = {}
        self.writes = 0
        self.version_text = version if version.count(".") > 1 else f"{version}.0"  # clients read three numbers
        self.lock = NoLock()
        self.dbs = _Databases(self)
        self.subscribers = defaultdict(OrderedSet)
        self.psubscribers = defaultdict(OrderedSet)
        self.ssubscribers = defaultdict(OrderedSet)
        self.blocked: dict[Any, Blocked] = {}
        self.touched: set[bytes] = set()
        self.all_touched = False
        self.restricted = False
        self.logins: Mapping[str, str] | None = None
        self.masters: Mapping[str, tuple[str, int]] = {}
        self._told = (-1, 0)
        self.disk = Disk(self)
        self.configure()

    def tell_time(self) -> None:
        """Let every database know what time it is."""
        moment = self.kernel.agenda.now_ns, len(self.dbs)
        if moment != self._told:
            self._told = moment
            now = time.time()
            for keyspace in self.dbs.values():
                keyspace.time = now

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

    # --- how it is configured

    def wall(self) -> float:
        """The time of day, in seconds since 1970."""
        return time.time()

    def setting(self, name: str) -> str:
        """As CONFIG GET tells it."""
        value = self.config.get(name.encode())
        return DEFAULTS[name] if value is None else value.decode(errors="replace")

    def configure(self) -> None:
        """Follow the settings."""
        self.disk.configure()
        if self.setting("maxmemory") != "0":
            self.limit_memory()
        if self.memory is not None:
            self.memory.configure()

    def limit_memory(self) -> Memory:
        """From now on its memory is looked after."""
        if self.memory is None:
            self.memory, self.followed = Memory(self), True
        return self.memory

    def keep_history(self, keep_ns: int) -> None:
        """From now on it can be told what was there so many nanoseconds ago, and when each key was used."""
        if self.history is None:
            self.history = History(self, keep_ns)
        self.history.keep_ns = max(self.history.keep_ns, keep_ns)

    def changed(self, number: int, key: bytes) -> None:
        """A key has changed, and somebody wants to know."""
        if self.memory is not None:
            self.stale[number, key] = None
        if self.watched:
            self.disk.written()

    def swapped(self) -> None:
        """Two databases have changed places."""
        if self.memory is not None:
            self.memory.measure_anew()
        if self.history is not None:
            self.history = History(self, self.history.keep_ns)

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

    def lists(self, database: int) -> dict[bytes, list[bytes]]:
        """The lists of one database, their left ends first. They are the store's own: not to be changed."""
        keyspace = self.dbs.get(database)
        items = {} if keyspace is None else keyspace._dict
        return {key: item.value for key, item in items.items() if isinstance(item.value, list)}

    def hashes(self, database: int) -> dict[bytes, list[bytes]]:
        """The values of each hash of one database."""
        keyspace = self.dbs.get(database)
        items = {} if keyspace is None else keyspace._dict
        return {key: list(item.value.values()) for key, item in items.items() if isinstance(item.value, Hash)}

    def held(self) -> list[Held]:
        """All that lies in lists and hashes."""
        return [
            Held(key, value, listed)
            for database in self.dbs
            for listed, found in ((True, self.lists(database)), (False, self.hashes(database)))
            for key, values in found.items()
            for value in values
        ]

    def begin_with(self, data: Image, before: Store, why: str) -> None:
        """Take data in; `before` is the store whose place this one takes."""
        load(self, data)
        self.writes += before.writes + 1
        if before.history is not None:
            self.keep_history(before.history.keep_ns)
        if before.memory is not None and before.memory.full:
            self.limit_memory().full = True
        self.disk.begin_after(before.disk)
        before.gone = True
        self.hooks.replaced(before.held(), self.held(), why)

    def lose(self, why: str, databases: Iterable[int] | None = None) -> None:
        """Tell of all that waits in lists, because it is about to be lost."""
        for database in list(self.dbs) if databases is None else databases:
            for key, values in (self.lists(database) | self.hashes(database)).items():
                self.hooks.gone(values, key, why)


class _Databases(dict[int, _Keyspace]):
    """Databases by number, made when first selected."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, number: int) -> _Keyspace:
        keyspace = self[number] = _Keyspace(self._store, number)
        if self._store.history is not None:
            self._store.history.follow(keyspace)
        return keyspace


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
