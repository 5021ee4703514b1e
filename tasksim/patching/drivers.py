"""Drivers of databases that wait in C, where no simulated process can park: which they are, and what to do instead.

A statement of theirs is a step of no virtual time, as any. One that waits for a lock which another simulated process
holds would wait for ever, until `Limits(block=...)` ends the step; then this says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_POSTGRES = "use psycopg 3 (`pip install psycopg[binary]`; Django and SQLAlchemy's postgresql+psycopg:// take it)"
_OTHER = "do not wait for locks there (NOWAIT, SKIP LOCKED), or test on PostgreSQL with psycopg 3, or on SQLite"
#: Package and remedy.
CANNOT_PARK: dict[str, str] = {
    "pg8000": _POSTGRES, "MySQLdb": _OTHER, "pymysql": _OTHER, "mysql": _OTHER,
    "oracledb": _OTHER, "cx_Oracle": _OTHER, "pyodbc": _OTHER, "pymssql": _OTHER,
}  # fmt: skip
#: How far up the stack a cursor or a connection is looked for.
_FRAMES = 8


def _packages(frame: Any) -> Iterator[str]:
    for _ in range(_FRAMES):
        if frame is None:
            return
        yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for value in list(frame.f_locals.values()):
            for one in (value, getattr(value, "__dict__", {}).get("cursor")):
                yield str(type(one).__module__).partition(".")[0]
        frame = frame.f_back


#: Modules in which a thread waits for another one.
_WAITING = frozenset(("threading", "queue", "concurrent.futures.thread", "concurrent.futures._base"))


def remedy(frame: Any) -> str:
    """What to say of a step that blocks in this frame: nothing, if no such driver is at work."""
    for package in _packages(frame):
        if package in CANNOT_PARK:
            return (
                f" {package} cannot wait in virtual time, and what it waits for, a lock most likely, is held by a "
                f"simulated process that cannot go on meanwhile: {CANNOT_PARK[package]}."
            )
    if frame.f_globals.get("__name__") in _WAITING:
        return (
            " A lock, queue or executor that was made before the simulation waits for real: hold it in a global of a "
            "task module, or make it when it is first needed."
        )
    return ""
