"""What an interpreter's modules hold, by identity, so that two moments can be compared."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

#: Packages whose modules are looked at, with single modules of the standard library.
PACKAGES = ("celery", "kombu", "billiard", "amqp", "redis", "vine", "fakeredis", "asyncio", "multiprocessing")
MODULES = (
    "time", "datetime", "random", "uuid", "threading", "os", "signal", "socket", "select", "selectors", "tempfile",
    "logging", "secrets", "sched", "queue", "contextvars", "greenlet", "freezegun.api", "_pytest.timing",
)  # fmt: skip

Path = tuple[str, ...]
Snapshot = dict[Path, object]


def _watched() -> Iterator[tuple[str, types.ModuleType]]:
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and (name in MODULES or name.partition(".")[0] in PACKAGES):
            yield name, module


def _unbound(value: object) -> object:
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def _of_function(path: Path, function: types.FunctionType) -> Snapshot:
    found: Snapshot = {(*path, "__code__"): function.__code__, (*path, "__kwdefaults__"): function.__kwdefaults__}
    for number, default in enumerate(function.__defaults__ or ()):
        found[(*path, "__defaults__", str(number))] = default
    return found


def _of_value(path: Path, value: object, module: str, seen: set[int]) -> Snapshot:
    value = _unbound(value)
    found: Snapshot = {path: value}
    if isinstance(value, types.FunctionType):
        found.update(_of_function(path, value))
    elif isinstance(value, type) and value.__module__ == module and id(value) not in seen:
        seen.add(id(value))
        for name, member in list(vars(value).items()):
            found.update(_of_value((*path, name), member, module, seen))
    elif isinstance(value, (dict, list, set, frozenset)) and type(value).__module__ == "builtins":
        found[(*path, "contents")] = _contents(value)
    elif type(value).__module__.partition(".")[0] in PACKAGES:
        found[(*path, "class")] = type(value)
        if isinstance(getattr(value, "__dict__", None), dict):
            found[(*path, "attributes")] = _contents(vars(value))
    return found


def _contents(value: Any) -> object:
    """A shallow signature: members by identity."""
    if isinstance(value, Mapping):
        return {str(key): id(member) for key, member in list(value.items())}
    if isinstance(value, list):
        return [id(member) for member in value]
    return frozenset(id(member) for member in value)


def take() -> Snapshot:
    """All of it, now."""
    found: Snapshot = {}
    for name, module in _watched():
        seen: set[int] = set()
        for attribute, value in list(vars(module).items()):
            if attribute not in ("__builtins__", "__warningregistry__"):  # the interpreter's own
                found.update(_of_value((name, attribute), value, name, seen))
    found.update(_interpreter())
    return found


def _interpreter() -> Snapshot:
    """What is set in the interpreter, not in a module's namespace."""
    found: Snapshot = {
        ("interpreter", "random state"): random.getstate(),
        ("interpreter", "environment"): dict(os.environ),
        ("interpreter", "directory"): os.getcwd(),
        ("interpreter", "umask"): _umask(),
        ("interpreter", "threads"): {thread.name for thread in threading.enumerate()},
        ("interpreter", "collector"): (gc.isenabled(), gc.get_threshold(), tuple(map(id, gc.callbacks))),
        ("interpreter", "socket timeout"): socket.getdefaulttimeout(),
        ("interpreter", "warning filters"): list(warnings.filters),
        ("interpreter", "mask"): signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        ("interpreter", "timers"): signal.getitimer(signal.ITIMER_REAL),
        ("interpreter", "trace"): (sys.gettrace(), sys.getprofile()),
        ("interpreter", "recursion"): sys.getrecursionlimit(),
        ("interpreter", "random class"): type(vars(random)["_inst"]),
    }
    for name in ("exit", "excepthook", "unraisablehook", "stdin", "stdout", "stderr", "argv", "path", "displayhook"):
        found[("sys", name)] = getattr(sys, name)
    found[("sys", "path", "contents")] = list(sys.path)
    for number in sorted(signal.valid_signals()):
        found[("signal handler", str(int(number)))] = signal.getsignal(number)
    return found


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def differences(before: Snapshot, after: Snapshot) -> dict[Path, tuple[object, object]]:
    """Places whose value is another one, or gone, or new in a module that was there before."""
    missing = object()
    modules = {path[0] for path in before}
    found = {}
    for path in {**before, **after}:
        one, other = before.get(path, missing), after.get(path, missing)
        if one is other or path[0] not in modules:
            continue
        by_value = path[-1] in ("contents", "attributes") or path[0] in ("interpreter", "signal handler")
        if by_value and type(one) is type(other) and one == other:
            continue
        found[path] = ("nothing" if one is missing else one, "nothing" if other is missing else other)
    return found
