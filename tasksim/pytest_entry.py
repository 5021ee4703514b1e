"""What pytest loads by itself (the entry point `pytest11`): only a word to load the plugin.

pytest knows this module as `tasksim`, and the plugin by its own name. So `-p no:tasksim` switches it off, and who asks
for it a second time, with `-p tasksim.pytest_plugin` or `pytest_plugins`, gets the one that is there.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: The plugin's name.
_PLUGIN = "tasksim.pytest_plugin"


class AsWritten:
    """Finds the modules of tasksim before pytest's own finder does.

    That rewrites the asserts of everything that is installed together with a plugin (_pytest.config,
    `_mark_plugins_for_rewrite`): the whole engine, which takes a second at each start where no bytecode may be kept
    (PYTHONDONTWRITEBYTECODE, as in many containers).
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        return PathFinder.find_spec(name, path, target) if name.startswith("tasksim.") else None


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    # Not by `pytest_plugins`: for that pytest reads through all installed distributions once more.
    if not pluginmanager.hasplugin(_PLUGIN):
        pluginmanager.register(import_module(_PLUGIN), _PLUGIN)


def pytest_unconfigure() -> None:
    if AsWritten in sys.meta_path:
        sys.meta_path.remove(AsWritten)


if AsWritten not in sys.meta_path:
    sys.meta_path.insert(0, AsWritten)
