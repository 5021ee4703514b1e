"""SQLite's own clock: `CURRENT_TIMESTAMP`, `datetime('now')` and their like show virtual time.

A connection gets functions of the same names. They hand everything to SQLite's own, on a connection of its own, and
put the virtual time where 'now' stands.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import sqlite3
import time
from collections.abc import Callable
from typing import Any

#: Functions that take a time, and how many arguments stand before it. The last one came with SQLite 3.43.
_TAKING_TIME = {"strftime": 1, "date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "timediff": 0}
#: Words that are functions without arguments, and the one that they stand for.
_WORDS = {"current_timestamp": "datetime", "current_date": "date", "current_time": "time"}


def _now() -> str:
    moment = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    return moment.isoformat(" ", "milliseconds").removesuffix("+00:00")


def _ask(question: str, values: list[Any]) -> list[Any]:
    """The answer of SQLite itself; a connection in memory is open within 20 us."""
    with contextlib.closing(sqlite3.Connection(":memory:")) as connection:
        return connection.execute(question, values).fetchall()


@functools.cache
def _known_functions() -> list[str]:
    """Those that this release of SQLite has."""
    found = {name for (name,) in _ask("select name from pragma_function_list", [])}
    return [name for name in _TAKING_TIME if name in found]


class SqliteClock:
    """What a simulation does to the connections that are opened in it.

    Args:
        is_virtual: does the caller live in virtual time?
    """

    def __init__(self, is_virtual: Callable[[], bool]) -> None:
        self._is_virtual = is_virtual

    def follow(self, connection: Any) -> None:
        """Let a connection show virtual time, as long as the simulation runs."""
        for name in _known_functions():
            function = functools.partial(self._call, name, _TAKING_TIME[name])
            connection.create_function(name, -1, function, deterministic=True)
        for word, name in _WORDS.items():
            connection.create_function(word, 0, functools.partial(self._call, name, 0), deterministic=True)

    def close(self) -> None:
        """No connection is opened any more; those that live on show real time."""
        self._is_virtual = lambda: False

    def _call(self, name: str, before: int, *arguments: Any) -> Any:
        values = list(arguments)
        if len(values) == before and name != "timediff":
            values.append("now")
        if self._is_virtual():
            values[before:] = [self._virtual(value) for value in values[before:]]
        places = ", ".join("?" * len(values))
        return _ask(f"select {name}({places})", values)[0][0]

    def _virtual(self, value: Any) -> Any:
        return _now() if isinstance(value, str) and value.lower() == "now" else value
