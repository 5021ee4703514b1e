"""Result stores that are neither a simulated server nor memory: databases by SQLAlchemy, folders of files.

They are real. What is of the simulation: the time that files bear, a database in memory that all processes see, and
what a fork makes of a backend.
"""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tasksim.patching.table import Row
from tasksim.worker.world import World

_SESSIONS, _FILES = "celery.backends.database.session", "celery.backends.filesystem"
#: Beginnings of `result_backend` and the module that such a store needs.
_MODULES = {"db+": _SESSIONS, "database": _SESSIONS, "file": _FILES}


def _connect_in_memory() -> sqlite3.Connection:
    # With a factory of its own it belongs to no simulated process: it outlives the one that was the first to ask.
    return sqlite3.connect(":memory:", factory=sqlite3.Connection, check_same_thread=False)


def _create_engine(world: World) -> object:
    from celery.backends.database import session
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import StaticPool

    real = session.create_engine
    in_memory = world.databases.engines_of_the_world

    def create_engine(url: Any, **options: Any) -> Any:
        parts = make_url(url)
        if parts.get_backend_name() != "sqlite" or parts.database not in (None, "", ":memory:"):
            return real(url, **options)
        if str(url) not in in_memory:
            options = {name: value for name, value in options.items() if not name.startswith(("pool", "max_"))}
            in_memory[str(url)] = real(url, poolclass=StaticPool, creator=_connect_in_memory, **options)
        return in_memory[str(url)]

    return create_engine


def _after_fork(world: World) -> object:
    from celery.backends.database.session import SessionManager

    real, kernel = SessionManager.__init__, world.kernel

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807
        real(self, *arguments, **options)
        if getattr(kernel.current, "forked", False):
            self._after_fork()

    return __init__


def _set_file(_: World) -> object:
    from celery.backends.filesystem import FilesystemBackend

    real = FilesystemBackend.set

    def set_(self: Any, key: Any, value: Any) -> Any:
        stored = real(self, key, value)
        now_ns = time.time_ns()
        os.utime(self._filename(key), ns=(now_ns, now_ns))
        return stored

    return set_


_ROWS = {
    _SESSIONS: (
        Row(f"{_SESSIONS}:create_engine", "a database in memory is one for all processes of the world", _create_engine),
        Row(
            f"{_SESSIONS}:SessionManager.__init__",
            "a pool process keeps its sessions in a pool: in life its manager is its worker's, after a fork",
            _after_fork,
        ),
    ),
    _FILES: (
        Row(
            f"{_FILES}:FilesystemBackend.set", "results expire by the time of their files, which is virtual", _set_file
        ),
    ),
}


def rows(app: Any, changed: Mapping[str, Any]) -> Iterable[Row]:
    """Places that are replaced for the result store that an app names, and for those that have been imported.

    Args:
        changed: settings that the simulation sets otherwise than the app does.
    """
    named = "" if app is None else str(changed.get("result_backend", app.conf.result_backend) or "")
    for beginning, module in _MODULES.items():
        if named.startswith(beginning):
            importlib.import_module(module)
    for module, found in _ROWS.items():
        if module in sys.modules:
            yield from found
