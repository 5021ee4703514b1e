"""Celery's remote debugger (celery.contrib.rdb) waits for a person, in a real socket and in real time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import celery.contrib.rdb

from tasksim.patching.table import Row
from tasksim.worker.world import World

__all__ = ["ROWS"]


def _listen(world: World) -> Callable[..., Any]:
    real, watchdog = celery.contrib.rdb.Rdb.get_avail_port, world.watchdog

    def get_avail_port(self: Any, *arguments: Any, **options: Any) -> Any:
        watchdog.debugged = True
        return real(self, *arguments, **options)

    return get_avail_port


ROWS = (Row("celery.contrib.rdb:Rdb.get_avail_port", "a person with telnet may take as long as it takes", _listen),)
