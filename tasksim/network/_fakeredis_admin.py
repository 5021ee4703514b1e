"""Commands by which libraries and operators ask a server about itself, and that fakeredis lacks.

Answers are those of a server that has no replica (redis.io, Commands; redis.conf).
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._commands import Key, Signature
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis._socket import FakeSocket
from fakeredis.model import ExpiringMembersSet, Hash, ZSet

from tasksim.network.redis_config import DEFAULTS, WrongSetting, checked

__all__ = ["ADMIN", "NO_MULTI", "Admin"]

_WORDS: Any = (bytes,)


def _signature(name: str, method: str, fixed: Any = (), repeat: Any = _WORDS, flags: str = "") -> tuple[str, Signature]:
    return name, Signature(name, method, fixed, repeat, flags=flags)


#: How the commands are called, and which of our methods does them.
ADMIN = dict(
    [
        _signature("info", "info"),
        _signature("config get", "config_get", _WORDS),
        _signature("config set", "config_set", (bytes, bytes)),
        _signature("config resetstat", "config_resetstat"),
        _signature("save", "save", repeat=(), flags=msgs.FLAG_NO_SCRIPT),
        _signature("bgsave", "bgsave", flags=msgs.FLAG_NO_SCRIPT),
        _signature("lastsave", "lastsave", repeat=()),
        _signature("touch", "touch", (Key(),), (Key(),)),
        _signature("role", "role"),
        _signature("wait", "wait_for_replicas", (bytes, bytes), ()),
        _signature("slowlog", "slowlog", _WORDS),
        _signature("latency", "latency", _WORDS),
        _signature("module", "module", _WORDS),
        _signature("cluster", "cluster", _WORDS),
        _signature("readonly", "cluster"),
        _signature("object", "object_", (bytes, Key()), ()),
        _signature("sentinel", "sentinel", _WORDS),
        _signature("client getredir", "client_getredir"),
        _signature("quit", "quit"),
    ]
)
#: Commands that cannot be queued (COMMAND, flag no_multi), as far as they are here.
NO_MULTI = ("save",)
#: The encodings of small values (redis.io, OBJECT ENCODING).
_ENCODINGS: dict[type, bytes] = {
    list: b"listpack",
    Hash: b"listpack",
    ZSet: b"listpack",
    ExpiringMembersSet: b"listpack",
}


class Admin(FakeSocket):
    """One client's questions."""

    _server: Any
    _db: Any
    _drop: Callable[[str], None]

    def info(self, *sections: bytes) -> bytes:
        """INFO: the lines that clients read; what a simulation has no number for is left out."""
        store = self._server
        wanted = {_text(section).lower() for section in sections} or {"default"}
        everything = bool(wanted & {"default", "all", "everything"})
        keyspace = {
            f"db{number}": f"keys={len(found)},expires={sum(1 for key in found if found.expires_at(key))},avg_ttl=0"
            for number, found in sorted((number, _Keys(held)) for number, held in store.dbs.items())
            if len(found)
        }
        seconds, version = int(store.kernel.now_ns // 1_000_000_000), store.version_text
        version += "" if version.count(".") > 1 else ".0"
        lines: dict[str, dict[str, Any]] = {
            "Server": {
                "redis_version": version, "redis_mode": "standalone", "arch_bits": 64, "tcp_port": 6379,
                "uptime_in_seconds": seconds, "uptime_in_days": seconds // 86400,
            },
            "Clients": {
                "connected_clients": len(store.sockets), "maxclients": 10000, "blocked_clients": len(store.blocked),
            },
            "Memory": {
                "maxmemory": store.setting("maxmemory"), "maxmemory_human": f"{store.setting('maxmemory')}B",
                "maxmemory_policy": store.setting("maxmemory-policy"),
            },
            "Persistence": {
                "loading": 0, "rdb_changes_since_last_save": store.disk.changes, "rdb_bgsave_in_progress": 0,
                "rdb_last_save_time": store.disk.saved_at, "rdb_last_bgsave_status": "ok",
                "rdb_saves": store.disk.saves, "aof_enabled": int(store.disk.logging),
            },
            "Stats": {"evicted_keys": 0 if store.memory is None else store.memory.evicted},
            "Replication": {"role": "master", "connected_slaves": 0},
            "Cluster": {"cluster_enabled": 0},
            "Keyspace": keyspace,
        }  # fmt: skip
        texts = []
        for section, values in lines.items():
            if everything or section.lower() in wanted:
                texts.append("\r\n".join([f"# {section}", *(f"{name}:{value}" for name, value in values.items()), ""]))
        return "\r\n".join(texts).encode()

    def config_get(self, *patterns: bytes) -> dict[bytes, bytes]:
        """CONFIG GET: what was set, else a server's default."""
        known = {name.encode(): value.encode() for name, value in DEFAULTS.items()} | self._server.config
        wanted = [_text(pattern).lower() for pattern in patterns]
        return {
            name: value for name, value in known.items() if any(fnmatchcase(_text(name), pattern) for pattern in wanted)
        }

    def config_set(self, *pairs: bytes) -> SimpleString:
        """CONFIG SET: all or none; what matters to a simulation holds from now on."""
        if len(pairs) % 2:
            raise SimpleError("ERR wrong number of arguments for 'config|set' command")
        found = {}
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            key = _text(name).lower()
            try:
                found[key.encode()] = checked(key, _text(value)).encode()
            except WrongSetting as exc:
                text = f"ERR CONFIG SET failed (possibly related to argument '{key}') - {exc}"
                raise SimpleError(text) from None
        self._server.config.update(found)
        self._server.configure()
        return SimpleString(b"OK")

    def save(self) -> SimpleString:
        """SAVE."""
        self._server.disk.save()
        return SimpleString(b"OK")

    def bgsave(self, *words: bytes) -> SimpleString:
        """BGSAVE: done at once."""
        if words and (len(words) > 1 or _text(words[0]).lower() != "schedule"):
            raise SimpleError("ERR syntax error")
        self._server.disk.save()
        return SimpleString(b"Background saving started")

    def lastsave(self) -> int:
        """LASTSAVE."""
        saved: int = self._server.disk.saved_at
        return saved

    def config_resetstat(self) -> SimpleString:
        """CONFIG RESETSTAT."""
        return SimpleString(b"OK")

    def touch(self, *keys: CommandItem) -> int:
        """TOUCH: how many of the keys are there."""
        return sum(1 for key in keys if key)

    def role(self) -> list[Any]:
        """ROLE."""
        return [b"master", 0, []]

    def wait_for_replicas(self, number: bytes, timeout: bytes) -> int:
        """WAIT: there are none."""
        del number, timeout
        return 0

    def slowlog(self, word: bytes, *_: bytes) -> Any:
        """SLOWLOG: nothing is slow."""
        return {"get": [], "len": 0, "reset": SimpleString(b"OK")}[_one_of("SLOWLOG", word, "get", "len", "reset")]

    def latency(self, word: bytes, *_: bytes) -> Any:
        """LATENCY."""
        return {"latest": [], "history": [], "reset": 0}[_one_of("LATENCY", word, "latest", "history", "reset")]

    def module(self, word: bytes, *_: bytes) -> Any:
        """MODULE LIST."""
        _one_of("MODULE", word, "list")
        return []

    def cluster(self, *_: bytes) -> Any:
        """CLUSTER and READONLY."""
        raise SimpleError("ERR This instance has cluster support disabled")

    def object_(self, word: bytes, key: CommandItem) -> Any:
        """OBJECT ENCODING, REFCOUNT and IDLETIME."""
        asked = _one_of("OBJECT", word, "encoding", "refcount", "idletime")
        if not key:
            return None
        if asked != "encoding":
            return 1 if asked == "refcount" else 0
        value = key.value
        if not isinstance(value, bytes):
            return _ENCODINGS.get(type(value), b"listpack")
        if value.lstrip(b"-").isdigit() and len(value) < 20:
            return b"int"
        return b"embstr" if len(value) <= 44 else b"raw"

    def client_getredir(self) -> int:
        """CLIENT GETREDIR: no tracking, no redirection."""
        return -1

    def sentinel(self, word: bytes, *arguments: bytes) -> Any:
        """SENTINEL, as far as clients ask for a master and its replicas.

        Every simulated server also answers as a sentinel; the masters are those that the app's settings name.
        """
        masters = self._server.masters
        asked = _one_of(
            "SENTINEL",
            word,
            "masters",
            "master",
            "get-master-addr-by-name",
            "slaves",
            "replicas",
            "sentinels",
            "ckquorum",
        )
        if asked == "masters":
            return [_described(name, *masters[name]) for name in masters]
        name = _text(arguments[0]) if arguments else ""
        if asked == "get-master-addr-by-name":
            return [str(one).encode() for one in masters[name]] if name in masters else None
        if name not in masters:
            raise SimpleError("ERR No such master with that name")
        return _described(name, *masters[name]) if asked == "master" else b"OK" if asked == "ckquorum" else []

    def quit(self) -> SimpleString:
        """QUIT: the connection ends after the reply."""
        self._server.kernel.soon(self._drop, "closed")
        return SimpleString(b"OK")


class _Keys:
    """The living keys of one database."""

    def __init__(self, keyspace: Any) -> None:
        self._keyspace = keyspace
        self._names = list(keyspace)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Any:
        return iter(self._names)

    def expires_at(self, key: bytes) -> float | None:
        """When it expires, if it does."""
        found: float | None = self._keyspace._dict[key].expireat
        return found


def _one_of(command: str, word: bytes, *known: str) -> str:
    text = _text(word).lower()
    if text not in known:
        raise SimpleError(f"ERR unknown subcommand '{_text(word)}'. Try {command} HELP.")
    return text


def _described(name: str, host: str, port: int) -> dict[bytes, bytes]:
    """A master as SENTINEL MASTERS describes it."""
    fields = {
        "name": name, "ip": host, "port": port, "runid": "0" * 40, "flags": "master", "role-reported": "master",
        "num-slaves": 0, "num-other-sentinels": 0, "quorum": 1, "failover-timeout": 180000, "parallel-syncs": 1,
        "link-pending-commands": 0, "last-ping-sent": 0, "last-ok-ping-reply": 0, "last-ping-reply": 0,
        "down-after-milliseconds": 30000, "info-refresh": 0, "role-reported-time": 0, "config-epoch": 0,
    }  # fmt: skip
    return {field.encode(): str(value).encode() for field, value in fields.items()}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
