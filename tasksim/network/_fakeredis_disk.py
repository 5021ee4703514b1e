"""What a Redis server has on its disk: snapshots by its `save` rules, and the log of its writes.

After "Redis persistence" (redis.io/docs/latest/operate/oss_and_stack/management/persistence) and redis.conf; what comes
back after SIGTERM and SIGKILL was compared with a redis-server 7.0, what a machine without power loses follows those.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tasksim.kernel.loop import SECOND
from tasksim.network._fakeredis_image import History, Image, take
from tasksim.network.redis_config import save_rules

if TYPE_CHECKING:
    from tasksim.network._fakeredis import Store

__all__ = ["KILL", "POWER", "STOP", "Disk"]

#: How a server may end: as SHUTDOWN or SIGTERM end it, as SIGKILL does, or with its whole machine.
STOP, KILL, POWER = "stop", "kill", "power"
#: A server looks at its rules so often (server.c: serverCron).
_TICK_NS = SECOND // 10
#: Without fsync by the server, Linux writes after so long (redis.conf: appendfsync no).
_FLUSH_NS = 30 * SECOND


class Disk:
    """The files of one server.

    Attributes:
        snapshot: the last one; None if there was none.
        saved_at: when it was taken, or else when the server started; whole seconds since 1970.
        saves: how many were taken.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.snapshot: Image | None = None
        self.saved_at = self._unix_time()
        self.saves = self._dirty_from = 0
        self._rules: list[tuple[int, int]] = []
        #: When the next snapshot is due, and the seconds of the rule that asks for it.
        self._timer: Any = None
        self._waiting = 0

    def _unix_time(self) -> int:
        return int(self._store.wall())

    @property
    def changes(self) -> int:
        """How many changes of keys there were since the last snapshot."""
        return self._store.writes - self._dirty_from

    @property
    def logging(self) -> bool:
        """Each write is appended to a file."""
        return self._store.setting("appendonly") == "yes"

    def configure(self) -> None:
        """The settings have changed."""
        self._rules = save_rules(self._store.setting("save"))
        synced_ns = self._synced_ns()
        if self.logging and synced_ns:
            self._store.keep_history(synced_ns)
        self._store.watched = bool(self._rules)
        self._store.followed = self._store.watched or self._store.memory is not None
        self._cancel()
        self.written()

    def _synced_ns(self) -> int:
        """How often the log is surely on the disk; 0 means each write is."""
        return {"always": 0, "everysec": SECOND, "no": _FLUSH_NS}[self._store.setting("appendfsync")]

    # --- snapshots

    def written(self) -> None:
        """A key has changed: is a snapshot due, or when will it be?"""
        changes = self.changes
        due = [seconds for seconds, least in self._rules if changes >= least]
        if due and (self._timer is None or min(due) < self._waiting):
            self._cancel()
            kernel, self._waiting = self._store.kernel, min(due)
            # "More than so many seconds" of a clock that counts whole ones (serverCron: unixtime-lastsave > seconds).
            wait = self.saved_at + self._waiting + 1 - self._store.wall()
            due_ns = kernel.now_ns + max(math.ceil(wait * SECOND), 1)
            self._timer = kernel.at(-(-due_ns // _TICK_NS) * _TICK_NS, self._save_by_rule)

    def _save_by_rule(self) -> None:
        self._timer = None
        if not self._store.gone:
            self.save()

    def save(self) -> None:
        """Take a snapshot; here it takes no time."""
        self.snapshot = take(self._store)
        self.saved_at, self._dirty_from = self._unix_time(), self._store.writes
        self.saves += 1
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._store.kernel.cancel(self._timer)
            self._timer = None

    # --- the end

    def left(self, how: str) -> Image:
        """What the server finds when it starts again after such an end."""
        store = self._store
        self._cancel()
        if not self.logging:
            if how == STOP and self._rules:
                self.save()
            return self.snapshot or {}
        synced_ns = self._synced_ns()
        if how == POWER and synced_ns:
            wall_ns = round(store.wall() * SECOND)
            return self._history().at(store.kernel.now_ns - wall_ns % synced_ns)
        return take(store)

    def begin_after(self, before: Disk) -> None:
        """The files of this server's last life are there."""
        self.snapshot, self._dirty_from = before.snapshot, self._store.writes

    def _history(self) -> History:
        history = self._store.history
        assert history is not None
        return history
