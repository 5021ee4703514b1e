"""A Redis server that has used up its memory: what it refuses, and what it gives up (redis.io, Key eviction).

Which commands are refused is told by their flag "denyoom" (COMMAND of redis-server 7.0). How much memory is used is an
estimate: what an empty server takes, and for each key what its value takes up and so much more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fakeredis.model import Hash, ZSet

from tasksim.network._parts import Draws
from tasksim.network.redis_config import memory

if TYPE_CHECKING:
    from tasksim.network._fakeredis import Store

__all__ = ["DENIED", "OOM", "Memory"]

OOM = "OOM command not allowed when used memory > 'maxmemory'."
#: Commands that are refused when memory is used up.
DENIED = frozenset(
    (
        "append", "bitfield", "bitop", "blmove", "brpoplpush", "copy", "decr", "decrby", "geoadd", "georadius",
        "georadiusbymember", "geosearchstore", "getset", "hincrby", "hincrbyfloat", "hmset", "hset", "hsetnx", "incr",
        "incrby", "incrbyfloat", "linsert", "lmove", "lpush", "lpushx", "lset", "mset", "msetnx", "pfadd", "pfmerge",
        "psetex", "restore", "rpoplpush", "rpush", "rpushx", "sadd", "sdiffstore", "set", "setbit", "setex", "setnx",
        "setrange", "sinterstore", "sort", "sunionstore", "xadd", "xsetid", "zadd", "zdiffstore", "zincrby",
        "zinterstore", "zrangestore", "zunionstore",
    )
)  # fmt: skip
#: In a transaction all are refused but these (server.c: processCommand).
_ENDS = ("exec", "discard", "quit", "reset")
#: What an empty server uses (INFO memory, used_memory_startup), and what each key and each element takes beside its
#: own bytes.
_EMPTY, _KEY, _ELEMENT = 876_120, 72, 4

#: Number of the database and key.
_Place = tuple[int, bytes]


class Memory:
    """How much a server may use, and what it does about it.

    Attributes:
        full: something else than the data uses it up, whatever is given up.
        evicted: how many keys were given up.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = False
        self.evicted = 0
        #: Whether the last command found too little memory, even after keys were given up; scripts ask.
        self.out = False
        self._draws = Draws(store.kernel.choice.stream("redis eviction"))
        self.configure()
        self.measure_anew()

    def configure(self) -> None:
        """The settings have changed."""
        store = self._store
        self._most, self._policy = memory(store.setting("maxmemory")), store.setting("maxmemory-policy")
        self._samples = int(store.setting("maxmemory-samples"))
        if self._policy.endswith(("lru", "lfu")):
            store.keep_history(0)

    # --- how much is used

    def measure_anew(self) -> None:
        """Nothing is known of any key's size."""
        self._sizes: dict[_Place, int] = {}
        self._total = _EMPTY
        for number, keyspace in self._store.dbs.items():
            for key in keyspace:
                self._store.stale[number, key] = None

    def used(self) -> int:
        """Bytes, estimated."""
        store = self._store
        for place in store.stale:
            self._total -= self._sizes.pop(place, 0)
            item = dict.get(store.dbs[place[0]]._dict, place[1])
            if item is not None:
                size = self._sizes[place] = _KEY + len(place[1]) + _size(item.value)
                self._total += size
        store.stale.clear()
        return self._total

    # --- before each command

    def look(self, name: str, queued: list[str] | None) -> bool:
        """Give up keys if there is too little memory; False if the command has to be refused.

        Args:
            name: of the command.
            queued: names of the commands in the client's transaction; None if it has none.
        """
        self.out = not self._make_room()
        if not self.out:
            return True
        if queued is None or name in _ENDS:
            return name not in DENIED and not (name == "exec" and DENIED.intersection(queued or ()))
        return False

    def _make_room(self) -> bool:
        if self._most and self.used() > self._most:
            self.measure_anew()  # what has expired was not told of
        while self.full or (self._most and self.used() > self._most):
            if not self.evict():
                return False
        return True

    # --- what is given up

    def evict(self, policy: str | None = None) -> bool:
        """Give up one key by the policy (the server's own by default); False if it gives up none."""
        policy = policy or self._policy
        if policy == "noeviction":
            return False
        kind, _, rule = policy.partition("-")
        places = list(self._candidates(kind == "volatile"))
        if not places:
            return False
        if rule != "random":
            places = self._sample(places)
            places.sort(key=lambda place: self._worth(place, rule))
        number, key = places[0] if rule != "random" else self._draws.choice(places)
        self._give_up(number, key)
        return True

    def _candidates(self, volatile: bool) -> Iterator[_Place]:
        for number, keyspace in self._store.dbs.items():
            for key, item in keyspace._dict.items():
                if item.expireat is not None or not volatile:
                    yield number, key

    def _sample(self, places: list[_Place]) -> list[_Place]:
        return places if len(places) <= self._samples else self._draws.sample(places, self._samples)

    def _worth(self, place: _Place, rule: str) -> tuple[float, _Place]:
        """The least goes first."""
        item = dict.get(self._store.dbs[place[0]]._dict, place[1])
        assert item is not None
        if rule == "ttl":
            return item.expireat, place
        history = self._store.history
        last_ns, times = history.used.get(place, (0, 0)) if history is not None else (0, 0)
        return (times if rule == "lfu" else last_ns), place

    def _give_up(self, number: int, key: bytes) -> None:
        store = self._store
        keyspace = store.dbs[number]
        value = dict.get(keyspace._dict, key).value  # type: ignore[union-attr]
        values = value if isinstance(value, list) else list(value._values.values()) if isinstance(value, Hash) else []
        store.hooks.gone(values, key, "evicted")
        del keyspace._dict[key]
        keyspace.notify_watch(key)
        self.evicted += 1


def _size(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list):
        return sum(map(len, value)) + _ELEMENT * len(value)
    if isinstance(value, ZSet):
        return sum(map(len, value._bylex)) + (_ELEMENT + 8) * len(value._bylex)
    held = getattr(value, "_values", None)
    if isinstance(held, dict):
        return sum(len(key) + (len(one) if isinstance(one, bytes) else 0) + 2 * _ELEMENT for key, one in held.items())
    return 64
