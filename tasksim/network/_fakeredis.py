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
from tasksim.network._parts import Blocked, Draws, Hooks, NoLock, OrderedSet
from tasksim.patching.table import Row

__all__ = ["ROWS", "Store"]


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
        store = self._store
        store.writes += 1
        if store.blocked:
            store.touched.add(key)

    def wake_all(self) -> None:
        self._store.all_touched = True

    def swap(self, other: Database) -> None:
        super().swap(other)
        self._store.all_touched = True


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
    """

    lock: Any
    dbs: Any
    subscribers: Any
    psubscribers: Any
    ssubscribers: Any

    def __init__(self, kernel: Kernel, version: str, hooks: Hooks) -> None:
        super().__init__(version=tuple(int(part) for part in version.split(".")))
        self.kernel, self.hooks = kernel, hooks
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
        keyspace = self[number] = _Keyspace(self._store)
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
