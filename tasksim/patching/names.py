"""Functions that other modules have imported by name: `from time import sleep`.

A module is searched once, unless it is imported anew, and its finds are remembered, so that a simulation pays only
for modules that are new. (One that is imported inside a simulation is mended at its end: `Patches.restore`.)
"""

from __future__ import annotations

import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tasksim.kernel.loop import Kernel
from tasksim.patching.guard import Gate
from tasksim.patching.table import Patches, resemble

#: What is looked for: the module and the name under which it is replaced.
_WANTED: tuple[tuple[ModuleType, str], ...] = (
    (time, "sleep"), (random, "random"), (random, "getrandbits"), (random, "seed"), (random, "getstate"),
    (random, "setstate"), (random, "gauss"), (os, "urandom"), (os, "getpid"), (os, "getppid"),
    (os, "kill"), (os, "fork"), (signal, "signal"), (signal, "getsignal"), (threading, "get_ident"),
    (threading, "Lock"), (threading, "RLock"), (queue, "SimpleQueue"), (signal, "raise_signal"),
    (signal, "pthread_kill"), (signal, "setitimer"), (signal, "getitimer"), (signal, "alarm"), (signal, "pause"),
    (os, "abort"), (os, "killpg"),
)  # fmt: skip
#: The real functions, and which of the above each is, by id.
_REAL: tuple[Any, ...] = tuple(getattr(module, name) for module, name in _WANTED)
_NUMBER = {id(real): number for number, real in enumerate(_REAL)}
#: Where the originals live.
_HOMES = frozenset(("time", "random", "os", "posix", "signal", "threading", "_thread", "queue", "_queue"))

_found: tuple[list[tuple[ModuleType, str]], ...] = tuple([] for _ in _WANTED)
_searched: dict[str, int] = {}


def _search(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        number = _NUMBER.get(id(value))
        if number is not None:
            _found[number].append((module, name))


def search_new_modules() -> None:
    """Look through what has been imported since the last time."""
    for name, module in list(sys.modules.items()):
        if _searched.get(name) != id(module):
            _searched[name] = id(module)
            if isinstance(module, ModuleType) and name not in _HOMES and not name.startswith("tasksim."):
                _search(module)


def replace_aliases(patches: Patches) -> None:
    """Where one of the wanted functions is replaced, replace every module's own name for it, too."""
    search_new_modules()
    for (home, attribute), real, places in zip(_WANTED, _REAL, _found, strict=True):
        ours = getattr(home, attribute)
        if ours is real:
            continue
        for module, name in places:
            if vars(module).get(name) is real:
                patches.set(module, name, ours)


def make_sleep(kernel: Kernel, gate: Gate) -> Callable[[float], None]:
    """A `time.sleep` that waits in virtual time, where a simulated process asks."""

    def sleep(seconds: float, /) -> None:
        if gate.inside():
            if seconds < 0:
                raise ValueError("sleep length must be non-negative")  # the interpreter's own words
            kernel.sleep(seconds)
        else:
            threading.Event().wait(seconds)

    return sleep


def replace_sleep(patches: Patches, sleep: Callable[[float], None]) -> None:
    """Let `time.sleep` and every module's own name for it be this function."""
    resemble(sleep, time.sleep, time)
    patches.set(time, "sleep", sleep)
    replace_aliases(patches)
