"""Copies of a Redis server's data: a snapshot, and what it was at an earlier moment.

A copy costs nothing but pointers: keys, strings and members are bytes. What was earlier is kept only when somebody may
ask for it (`History`); then the value of a key is copied when it is first touched in each instant, as a server's fork
copies pages when they are written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fakeredis._core._database import Item
from fakeredis.model import ExpiringMembersSet, Hash, ZSet

if TYPE_CHECKING:
    from tasksim.network._fakeredis import Store

__all__ = ["History", "Image", "load", "take"]

#: Each database by number; of each key its value and when it expires.
Image = dict[int, dict[bytes, tuple[Any, float | None]]]

_MISSING = object()


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is bytes:
        return value
    if kind is list:
        return value.copy()
    if kind is ZSet:
        made = ZSet()
        made._bylex, made._byscore = value._bylex.copy(), value._byscore.copy()
        return made
    if kind is Hash or kind is ExpiringMembersSet:
        made = copy.copy(value)
        for name, held in vars(value).items():
            if isinstance(held, (dict, list)):
                setattr(made, name, held.copy())
        return made
    return copy.deepcopy(value)


def take(store: Store) -> Image:
    """What the server holds now."""
    return {
        number: {key: (_copied(item.value), item.expireat) for key, item in keyspace._dict.items()}
        for number, keyspace in store.dbs.items()
    }


def load(store: Store, image: Image) -> None:
    """Put this into an empty server; the image can be used again."""
    for number, keys in image.items():
        keyspace = store.dbs[number]
        for key, (value, expires_at) in keys.items():
            item: Any = Item(_copied(value))
            item.expireat = expires_at
            keyspace[key] = item


class _Noted(dict[bytes, Any]):
    """The keys of one database; tells of each that is about to be touched."""

    __slots__ = ("note", "number")

    def __init__(self, keys: dict[bytes, Any], number: int, note: Callable[[_Noted, bytes], None]) -> None:
        super().__init__(keys)
        self.number, self.note = number, note

    def __getitem__(self, key: bytes) -> Any:
        self.note(self, key)
        return super().__getitem__(key)

    def get(self, key: bytes, default: Any = None) -> Any:
        """The item of a key."""
        self.note(self, key)
        return super().get(key, default)

    def __setitem__(self, key: bytes, item: Any) -> None:
        self.note(self, key)
        super().__setitem__(key, item)

    def __delitem__(self, key: bytes) -> None:
        self.note(self, key)
        super().__delitem__(key)

    def clear(self) -> None:
        """Without any key."""
        for key in self:
            self.note(self, key)
        super().clear()


class History:
    """What a server held during its last seconds, and when each key was last touched.

    Attributes:
        since_ns: from when on it is known; before, nothing is.
        keep_ns: so much of the past is kept.
        used: when each key was touched last and how often, by number of the database and key.
    """

    def __init__(self, store: Store, keep_ns: int) -> None:
        self._store, self._agenda = store, store.kernel.agenda
        self.keep_ns, self.since_ns = keep_ns, self._agenda.now_ns
        self.used: dict[tuple[int, bytes], tuple[int, int]] = {}
        #: Instants in order; of each what a key was before it, by the number of its database and the key.
        self._before: dict[int, dict[tuple[int, bytes], Any]] = {}
        for keyspace in store.dbs.values():
            self.follow(keyspace)

    def follow(self, keyspace: Any) -> None:
        """Keep the history of a database."""
        keyspace._dict = _Noted(keyspace._dict, keyspace._number, self._note)

    def _note(self, keys: _Noted, key: bytes) -> None:
        now_ns, place = self._agenda.now_ns, (keys.number, key)
        last = self.used.get(place)
        self.used[place] = (now_ns, 1 if last is None else last[1] + 1)
        if not self.keep_ns:
            return
        before = self._before.get(now_ns)
        if before is None:
            before = self._before[now_ns] = {}
            for instant_ns in list(self._before):
                if instant_ns >= now_ns - self.keep_ns:
                    break
                del self._before[instant_ns]
                self.since_ns = instant_ns + 1
        if place not in before:
            item = dict.get(keys, key, _MISSING)
            before[place] = item if item is _MISSING else (_copied(item.value), item.expireat)

    def at(self, moment_ns: int) -> Image:
        """What the server held when this instant began; if that is not known, the earliest that is."""
        image = take(self._store)
        for instant_ns in reversed(self._before):
            if instant_ns < moment_ns:
                break
            for (number, key), before in self._before[instant_ns].items():
                if before is _MISSING:
                    image.get(number, {}).pop(key, None)
                else:
                    image.setdefault(number, {})[key] = before
        return image

    def idle(self) -> Iterator[tuple[tuple[int, bytes], tuple[int, int]]]:
        """Of each key when and how often it was touched."""
        return iter(self.used.items())
