"""Functions that other modules have imported by name: `from time import sleep`.

A module is searched once in the life of the interpreter and its finds are remembered, so that a simulation pays only
for modules that are new.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tasksim.patching.table import Patches

#: The real functions that are looked for, by id.
_WANTED: dict[int, str] = {id(time.sleep): "sleep"}
_found: dict[str, list[tuple[ModuleType, str]]] = {"sleep": []}
_searched: dict[str, int] = {}


def _search(module: ModuleType) -> None:
    try:
        namespace = list(vars(module).items())
    except TypeError:
        return
    for name, value in namespace:
        wanted = _WANTED.get(id(value))
        if wanted is not None and module is not time and not module.__name__.startswith("tasksim."):
            _found[wanted].append((module, name))


def search_new_modules() -> None:
    """Look through what has been imported since the last time."""
    if len(_searched) == len(sys.modules):
        return
    for name, module in list(sys.modules.items()):
        if _searched.get(name) != id(module):
            _searched[name] = id(module)
            if isinstance(module, ModuleType):
                _search(module)


def replace_sleep(patches: Patches, sleep: Callable[[float], None]) -> None:
    """Let `time.sleep` and every module's own name for it be this function."""
    real: Any = time.sleep
    search_new_modules()
    for module, name in _found["sleep"]:
        if vars(module).get(name) is real:
            patches.set(module, name, sleep)
    patches.set(time, "sleep", sleep)
