"""The configuration of a Redis server: which settings matter to a simulation, and what they may hold (redis.conf).

Other settings are kept and told again, and change nothing. The words of the refusals are a server's (7.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tasksim.errors import UsageError

__all__ = ["DEFAULTS", "POLICIES", "WrongSetting", "checked", "memory", "read_settings", "save_rules"]

#: What CONFIG GET tells of a server that nobody has configured, as far as libraries ask. A server's own default keeps
#: snapshots ("3600 1 300 100 60 10000"); the simulated one keeps nothing unless it is asked to.
DEFAULTS = {
    "appendfsync": "everysec", "appendonly": "no", "databases": "16", "maxclients": "10000", "maxmemory": "0",
    "maxmemory-policy": "noeviction", "notify-keyspace-events": "", "port": "6379",
    "proto-max-bulk-len": "536870912", "save": "", "timeout": "0", "tcp-keepalive": "300", "requirepass": "",
    "maxmemory-samples": "5", "lfu-decay-time": "1",
}  # fmt: skip
POLICIES = (
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random",
    "noeviction",
)  # fmt: skip
_CHOICES = {"maxmemory-policy": POLICIES, "appendfsync": ("everysec", "always", "no")}
_UNITS = {
    "": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3,
}  # fmt: skip
_AMOUNT = re.compile(r"(\d+)([a-z]*)", re.IGNORECASE)
#: Settings that are fixed when a server starts.
_FIXED = ("databases",)


class WrongSetting(ValueError):
    """A value that a setting may not have; the text is what a server says of it."""


def memory(text: str) -> int:
    """Bytes of "100mb".

    Raises:
        WrongSetting: it is no amount of memory.
    """
    found = _AMOUNT.fullmatch(text)
    factor = _UNITS.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise WrongSetting("argument must be a memory value")
    return int(found[1]) * factor


def save_rules(text: str) -> list[tuple[int, int]]:
    """Of "3600 1 300 100": a snapshot after so many seconds if there were so many changes.

    Raises:
        WrongSetting: they are no pairs of numbers.
    """
    words = text.split()
    if len(words) % 2 or not all(word.isdigit() for word in words) or "0" in words[::2]:
        raise WrongSetting("Invalid save parameters")
    numbers = [int(word) for word in words]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked(name: str, value: str) -> str:
    """A value as the server will tell it.

    Raises:
        WrongSetting: the setting cannot hold it.
    """
    choices = _CHOICES.get(name)
    if choices is not None and value.lower() not in choices:
        raise WrongSetting(f"argument(s) must be one of the following: {', '.join(choices)}")
    if name == "appendonly" and value.lower() not in ("yes", "no"):
        raise WrongSetting("argument must be 'yes' or 'no'")
    if choices is not None or name == "appendonly":
        return value.lower()
    if name == "maxmemory":
        return str(memory(value))
    if name == "maxmemory-samples" and not value.isdigit():
        raise WrongSetting("argument couldn't be parsed into an integer")
    if name == "save":
        return " ".join(f"{seconds} {changes}" for seconds, changes in save_rules(value))
    if name in _FIXED:
        raise WrongSetting("can't set immutable config")
    return value


def read_settings(given: Mapping[str, object] | None) -> dict[str, str]:
    """What a user wrote as `redis_config`, as a server would start with it.

    Raises:
        UsageError: a name or a value is wrong.
    """
    found = {}
    for name, value in (given or {}).items():
        text = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        if name not in DEFAULTS or name in _FIXED:
            known = ", ".join(sorted(one for one in DEFAULTS if one not in _FIXED))
            raise UsageError(f"redis_config: {name!r} is not simulated; settings are {known}")
        try:
            found[name] = checked(name, text)
        except WrongSetting as exc:
            raise UsageError(f"redis_config: {name}={value!r}: {exc}") from None
    return found
