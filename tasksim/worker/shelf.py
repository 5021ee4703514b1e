"""Files in which beat and workers keep what outlives them: schedules and state databases.

Which format `shelve` takes depends on the machine's Python; one of them (gdbm) locks the file for the interpreter, and
so for processes that were killed inside it. Here it is the same on every machine, and is written only where something
has changed: beat writes its schedule every few minutes, also when nothing is due for months.
"""

from __future__ import annotations

import dbm
import pickle
import shelve
import types
from pathlib import Path
from typing import Any

import celery.beat
import celery.worker.state  # noqa: F401 (places of rows)

from tasksim.patching.table import Row


class _OneFile(dict[bytes, bytes]):
    """What `shelve` needs of a database, in one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(pickle.loads(path.read_bytes()) if path.exists() and path.stat().st_size else {})
        self._path, self._written = path, dict(self)

    def sync(self) -> None:
        """Write what has changed."""
        if self != self._written or not self._path.exists():
            self._path.write_bytes(pickle.dumps(dict(self)))
            self._written = dict(self)

    close = sync


def open_shelf(filename: str, flag: str = "c", protocol: int | None = None, writeback: bool = False) -> Any:
    """shelve.open; a file that another program has written is opened as it is."""
    if dbm.whichdb(filename):
        return shelve.open(filename, flag, protocol, writeback)  # type: ignore[arg-type]
    return shelve.Shelf(_OneFile(Path(filename)), protocol, writeback)


_WHY = "the format would be the machine's, and its lock that of the interpreter"

ROWS = tuple(
    Row(place, _WHY, lambda _: types.SimpleNamespace(open=open_shelf))
    for place in ("celery.beat:PersistentScheduler.persistence", "celery.worker.state:Persistent.storage")
)
