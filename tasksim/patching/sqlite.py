"""SQLite in simulated processes: who finds a database locked waits in virtual time, so that its holder can go on.

Its own clock, too, shows virtual time.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterable
from typing import Any

from tasksim.patching.sqlite_clock import SqliteClock
from tasksim.patching.table import Row

#: Seconds between looks, as SQLite's own busy handler has them; the last one is repeated.
DELAYS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.025, 0.025, 0.05, 0.05, 0.1)
#: What sqlite3.connect waits for a lock if nothing else is said, seconds.
TIMEOUT = 5.0
#: What it takes by position as well; from Python 3.13 on it warns of that.
_ARGUMENTS = ("timeout", "detect_types", "isolation_level", "check_same_thread", "factory", "cached_statements", "uri")


class Locks:
    """How long each connection waits for a lock, and the waiting.

    Args:
        sleep: lets virtual time pass.
        inside: is the caller in the simulation's thread?
    """

    def __init__(self, sleep: Callable[[float], None], inside: Callable[[], bool]) -> None:
        self._sleep, self.inside = sleep, inside
        self._timeouts: dict[int, float] = {}
        self._before: list[tuple[Any, float]] = []
        self.clock = SqliteClock(inside)

    def watch(self, connection: Any, timeout: float) -> None:
        """A connection that does not wait by itself waits so long; what it calls now is virtual."""
        self._timeouts[id(connection)] = timeout
        self.clock.follow(connection)

    def take_over(self, connection: Any) -> None:
        """Let a connection that was opened before wait here, until `give_back`."""
        timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0] / 1000
        connection.execute("PRAGMA busy_timeout = 0")
        self._before.append((connection, timeout))
        self.watch(connection, timeout)

    def give_back(self) -> None:
        """Connections that were opened before wait by themselves again."""
        self.clock.close()
        for connection, timeout in self._before:
            try:
                connection.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")
            except sqlite3.ProgrammingError:
                continue  # closed in the meantime
        self._before.clear()

    def call(self, connection: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a connection or its cursor, again and again while the database is locked."""
        left, looks = self._timeouts.get(id(connection), 0.0), 0
        while True:
            try:
                return function(*arguments)
            except Exception as exc:
                if left <= 0 or "is locked" not in str(exc) or not self.inside():
                    raise
            delay = min(DELAYS[min(looks, len(DELAYS) - 1)], left)
            self._sleep(delay)
            left, looks = left - delay, looks + 1


def _retrying(locks: Locks, name: str, real: Any, connection: Callable[[Any], Any]) -> Any:
    def retrying(self: Any, *arguments: Any) -> Any:
        return locks.call(connection(self), real, self, *arguments)

    retrying.__name__ = name
    return retrying


def _classes(locks: Locks) -> type[sqlite3.Connection]:
    def of_cursor(cursor: Any) -> Any:
        return cursor.connection

    def itself(connection: Any) -> Any:
        return connection

    names = ("execute", "executemany", "executescript")
    cursor = type("Cursor", (sqlite3.Cursor,), {
        name: _retrying(locks, name, getattr(sqlite3.Cursor, name), of_cursor) for name in names
    })  # fmt: skip

    def make_cursor(self: Any, factory: Any = cursor) -> Any:
        return sqlite3.Connection.cursor(self, factory)

    return type("Connection", (sqlite3.Connection,), {
        "cursor": make_cursor,
        **{name: _retrying(locks, name, getattr(sqlite3.Connection, name), itself) for name in (*names, "commit")},
    })  # fmt: skip


def _connect(world: Any) -> object:
    real, locks, databases = sqlite3.connect, world.locks, world.databases
    connection_class = _classes(locks)

    def connect(database: Any, *arguments: Any, **options: Any) -> Any:
        named = {**dict(zip(_ARGUMENTS, arguments, strict=False)), **options}
        if not locks.inside() or "factory" in named:
            return real(database, *arguments, **options)
        timeout = named.pop("timeout", TIMEOUT)
        connection = real(database, timeout=0.0, factory=connection_class, **named)
        locks.watch(connection, timeout)
        databases.opened(connection)
        return connection

    return connect


def _django_cursor(name: str) -> Callable[[Any], object]:
    def make(world: Any) -> object:
        from django.db.backends.sqlite3.base import SQLiteCursorWrapper

        return _retrying(world.locks, name, getattr(SQLiteCursorWrapper, name), lambda cursor: cursor.connection)

    return make


_WHY = "a lock is waited for in virtual time"

ROWS = (
    Row("sqlite3:connect", _WHY, _connect),
    Row("sqlite3.dbapi2:connect", _WHY, _connect),
)

_DJANGO_ROWS = (
    Row("django.db.backends.sqlite3.base:SQLiteCursorWrapper.execute", _WHY, _django_cursor("execute")),
    Row("django.db.backends.sqlite3.base:SQLiteCursorWrapper.executemany", _WHY, _django_cursor("executemany")),
)


def rows() -> Iterable[Row]:
    """Places that are replaced in what has been imported."""
    yield from ROWS
    if "django.db.backends.sqlite3.base" in sys.modules:
        yield from _DJANGO_ROWS
