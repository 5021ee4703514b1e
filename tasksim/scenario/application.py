"""The app of a scenario: finding it, and giving it the scenario's settings for the length of one run."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tasksim.errors import ScenarioError
from tasksim.scenario.node import did_you_mean
from tasksim.scenario.schema import Scenario

__all__ = ["configured", "importable", "load_app", "value_of"]


@contextmanager
def importable(scenario: Scenario) -> Iterator[None]:
    """Put the scenario's folder, `apps` in it, and the working folder first on the import path."""
    folder = os.path.dirname(os.path.abspath(scenario.file))
    wanted = dict.fromkeys([folder, os.path.join(folder, "apps"), os.getcwd()])
    added = [path for path in wanted if os.path.isdir(path) and path not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for path in added:
            if path in sys.path:
                sys.path.remove(path)


def load_app(scenario: Scenario) -> Any:
    """The Celery app that the scenario names. Its tasks are not looked at yet: settings come first."""
    module_name, _, attribute = scenario.app.partition(":")
    line = scenario.line_of("app")
    try:
        app: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        places = "the scenario's folder, its `apps`, the working folder and the import path"
        message = f"there is no module `{error.name}`; looked in {places}"
        raise ScenarioError(message, scenario.file, line) from None
    for name in attribute.split("."):
        if not hasattr(app, name):
            raise ScenarioError(f"`{module_name}` has no attribute `{attribute}`", scenario.file, line)
        app = getattr(app, name)
    if not (hasattr(app, "conf") and hasattr(app, "tasks")):
        raise ScenarioError(f"`{scenario.app}` is no Celery app but {type(app).__name__}", scenario.file, line)
    return app


@contextmanager
def configured(app: Any, scenario: Scenario) -> Iterator[None]:
    """Give the app the scenario's settings and load its tasks; on leaving, the settings are as before.

    A task takes some settings (`task_acks_late` becomes its `acks_late`) when the app is finalized. In an app that
    was finalized before, they are set on each task whose own value is the app's.
    """
    for name in scenario.settings:
        if name not in app.conf:
            message = f"there is no setting `{name}`{did_you_mean(name, app.conf)}"
            raise ScenarioError(message, scenario.file, scenario.line_of("settings"))
    from tasksim.worker.app import import_modules, override

    changes = app.conf.maps[0]
    before = dict(changes)
    taken = _take(app, scenario.settings) if app.finalized else []
    override(app.conf, scenario.settings)
    try:
        import_modules(app)
        app.finalize()
        yield
    finally:
        for kind, attribute, value in taken:
            setattr(kind, attribute, value)
        changes.clear()
        changes.update(before)


def _take(app: Any, settings: Mapping[str, Any]) -> list[tuple[type, str, Any]]:
    """Set on the app's tasks what they take from `settings`; returns what was there."""
    taken = []
    for task in app.tasks.values():
        kind = type(task)
        for attribute, setting in kind.from_config:
            value = getattr(kind, attribute)
            if setting in settings and value == app.conf[setting]:
                taken.append((kind, attribute, value))
                setattr(kind, attribute, settings[setting])
    return taken


def value_of(dotted: str) -> Any:
    """What a dotted name stands for: the longest part that is a module, then attributes.

    Raises:
        LookupError: there is no such module or attribute; the text says which.
    """
    names = dotted.split(".")
    for length in range(len(names), 0, -1):
        module_name = ".".join(names[:length])
        try:
            value: Any = importlib.import_module(module_name)
        except ModuleNotFoundError:
            continue
        for name in names[length:]:
            if not hasattr(value, name):
                raise LookupError(f"`{module_name}` has no `{'.'.join(names[length:])}`")
            value = getattr(value, name)
        return value
    raise LookupError(f"there is no module `{names[0]}`")
