"""What a finished simulation lets go.

The frames of dead processes are kept for good, and with them whatever these reach: without this the trace and the
connections of every simulation that an interpreter has seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery, Task

from tasksim.kernel.process import Process
from tasksim.worker.app import CACHED

_APP_STATE = (*CACHED, "_pool", "_local", "_backend_cache")


def let_go(processes: Iterable[Process], consumers: Iterable[Any], user_cells: int) -> None:
    """Drop what Celery and tasksim hold for processes that are dead; users' objects stay alive, as their frames do.

    Args:
        consumers: Celery's, of workers that are dead.
        user_cells: how many cells, the last ones, are the user's.
    """
    for consumer in consumers:
        consumer.strategies.clear()  # for each task of the app a class of requests, and functions
    for process in processes:
        process.own = {name: value for name, value in process.own.items() if name == "error"}
        process.cells = process.cells[-user_cells:] if user_cells else []
        process.defaults = []
        for owner, body in process.bodies:
            if isinstance(owner, Celery) and body is not vars(owner):  # in a drop-in the test has its own app
                for name in _APP_STATE:
                    body.pop(name, None)
        process.bodies = [(owner, body) for owner, body in process.bodies if isinstance(owner, (Celery, Task))]
