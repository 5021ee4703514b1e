"""The app of a scenario: finding it and its tasks, and what a dotted name stands for."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasksim.errors import ScenarioError, TasksimError
from tasksim.scenario.node import did_you_mean
from tasksim.scenario.schema import Scenario

__all__ = ["importable", "load_app", "load_tasks", "value_of"]

#: Settings that name modules with tasks (celery.loaders.base, default_modules).
_MODULES = ("imports", "include")


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
        app = _module(module_name)
    except _NoModule as error:
        places = "the scenario's folder, its `apps`, the working folder and the import path"
        raise ScenarioError(f"{error}; looked in {places}", scenario.file, line) from None
    except LookupError as error:
        raise ScenarioError(str(error), scenario.file, line) from error
    with _blamed(f"`{scenario.app}` cannot be had", scenario):
        for name in attribute.split("."):
            if not hasattr(app, name):
                raise ScenarioError(f"`{module_name}` has no attribute `{attribute}`", scenario.file, line)
            app = getattr(app, name)
        if not (hasattr(app, "conf") and hasattr(app, "tasks")):
            remedy = ""
            if callable(app) and not isinstance(app, type):
                remedy = f"; if it makes one, name what it made: `made = {attribute}()` in a module"
            message = f"`{scenario.app}` is no Celery app but {type(app).__name__}{remedy}"
            raise ScenarioError(message, scenario.file, line)
    return app


class _NoModule(LookupError):
    """There is no module of this name."""


def _module(name: str) -> Any:
    """The module of this name.

    Raises:
        _NoModule: there is none; the text says which is missing.
        LookupError: it is there and cannot be imported; the text says why.
    """
    try:
        return importlib.import_module(name)
    except TasksimError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _NoModule(f"there is no module `{error.name}`") from None
        missing = "no module" if error.name is None else f"there is no module `{error.name}`"
        raise LookupError(f"`{name}` cannot be imported: {missing}{_place(error)}") from error
    except (Exception, SystemExit) as error:
        raise LookupError(f"`{name}` cannot be imported: {_told(error)}") from error


@contextmanager
def _blamed(what: str, scenario: Scenario) -> Iterator[None]:
    """Whatever the app's own code raises meanwhile is told with the line that names the app."""
    try:
        yield
    except TasksimError:
        raise
    except (Exception, SystemExit) as error:
        raise ScenarioError(f"{what}: {_told(error)}", scenario.file, scenario.line_of("app")) from error


def _told(error: BaseException) -> str:
    """An error in a line, with its place: who runs a scenario sees no traceback."""
    said = str(error)
    return f"{type(error).__name__}{': ' if said else ''}{said}{_place(error)}"


def _place(error: BaseException) -> str:
    """Where an error was raised, the import system and this module left out."""
    files = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in files if frame.filename not in (__file__, importlib.__file__)]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def load_tasks(app: Any, scenario: Scenario) -> None:
    """Import what holds the app's tasks, by the scenario's settings where they name modules.

    All other settings hold from the start of the simulation on, which is given them.
    """
    with _blamed(f"the settings of `{scenario.app}` cannot be had", scenario):
        for name in scenario.settings:
            if name not in app.conf:
                message = f"there is no setting `{name}`{did_you_mean(name, app.conf)}"
                raise ScenarioError(message, scenario.file, scenario.line_of("settings"))
        changes = app.conf.maps[0]
    from tasksim.worker.app import import_modules, override

    before = dict(changes)
    override(app.conf, {name: scenario.settings[name] for name in _MODULES if name in scenario.settings})
    try:
        with _blamed(f"the tasks of `{scenario.app}` cannot be loaded", scenario):
            import_modules(app)
    finally:
        changes.clear()
        changes.update(before)


def value_of(dotted: str) -> Any:
    """What a dotted name stands for: the longest part that is a module, then attributes.

    Raises:
        LookupError: there is no such module or attribute, or a module cannot be imported; the text says which and why.
    """
    names = dotted.split(".")
    value, length = _module(names[0]), 1
    # One part after the other: what cannot be imported is named by itself, not by what was asked of it.
    while length < len(names):
        try:
            value = _module(".".join(names[: length + 1]))
        except _NoModule:
            break
        length += 1
    for name in names[length:]:
        if not hasattr(value, name):
            raise LookupError(f"`{'.'.join(names[:length])}` has no `{'.'.join(names[length:])}`")
        value = getattr(value, name)
    return value
