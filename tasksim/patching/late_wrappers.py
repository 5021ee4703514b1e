"""Wrappers that other tools put around Celery's functions after a world has opened.

A world imports all of Celery that it may need, much of it earlier than in life, where a worker's start would. Such a
module has taken names from others (`from celery.app.trace import build_tracer`); a tool that wraps the function later
would wrap it for those only that have not been imported yet. In life that is everybody.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import FunctionType, ModuleType
from typing import Any

from tasksim.patching.table import Patches

#: Packages whose modules a world imports.
_PACKAGES = frozenset(("celery", "kombu", "billiard", "amqp", "vine"))


class LateWrappers:
    """Names that modules have taken from others, in modules that a world has imported.

    Args:
        before: names of the modules that somebody else had imported before.
        patches: through which names are set.
    """

    def __init__(self, before: Collection[str], patches: Patches) -> None:
        self._patches = patches
        self._taken: list[tuple[ModuleType, str, dict[str, Any], str]] = []
        self._known: dict[tuple[str, str], Any] = {}
        for name, module in list(sys.modules.items()):
            if name not in before and isinstance(module, ModuleType) and name.partition(".")[0] in _PACKAGES:
                self._look_through(module)

    def _look_through(self, module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            if not isinstance(value, (FunctionType, type)) or value.__module__ == module.__name__:
                continue
            home = vars(sys.modules.get(value.__module__, module))
            if value.__module__.partition(".")[0] in _PACKAGES and value.__name__ in home:
                self._taken.append((module, name, home, value.__name__))
                self._known[value.__module__, value.__name__] = home[value.__name__]

    def follow(self) -> None:
        """Let whoever took a name that has been given another meaning since have that."""
        for module, name, home, origin in self._taken:
            now, known = home.get(origin), self._known[home["__name__"], origin]
            if now is not known and now is not None and vars(module).get(name) is not now:
                self._patches.set(module, name, now)
