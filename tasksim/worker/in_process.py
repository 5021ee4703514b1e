"""Workers that live in the test's own process: what their pool processes copy at a fork.

Such a worker is a thread of the test, as `celery.contrib.testing.worker.start_worker` makes it, so it shares everything
with the test. Its pool processes are forks of the test's process: what the test changes afterwards (connects a handler
to a signal, registers a serializer) they do not see, in life and here.
"""

from __future__ import annotations

import logging
import sys
import weakref
from typing import Any

import celery._state
import celery.signals
import kombu.serialization
from celery.utils.dispatch import Signal

from tasksim.kernel.cells import Cells, Make, keep
from tasksim.worker.app import fork_body

Body = dict[str, Any]

#: pytest collects what is logged in its own process; records of another one reach its handlers' copies there.
_PYTEST = "_pytest."


def _forked_signal(parent: Body) -> Body:
    cache = weakref.WeakKeyDictionary[Any, Any]() if parent["use_caching"] else {}
    return {**parent, "receivers": list(parent["receivers"]), "sender_receivers_cache": cache}


def _forked_registry(parent: Body) -> Body:
    return {name: value.copy() if isinstance(value, (dict, set)) else value for name, value in parent.items()}


def _forked_handlers(parent: list[logging.Handler]) -> list[logging.Handler]:
    return [handler for handler in parent if not type(handler).__module__.startswith(_PYTEST)]


def _separate(cells: Cells, owner: Any, fork: Make) -> None:
    """Forks have a copy; a program that is started shares the test's, as everywhere in a simulation."""
    shared = owner.__dict__
    cells.body(owner, fresh=lambda: shared, fork=fork)


def add_cells(cells: Cells) -> None:
    """Let pool processes of the test's own workers have copies of what the test goes on to change."""
    for found in dict.fromkeys(one for one in vars(celery.signals).values() if isinstance(one, Signal)):
        _separate(cells, found, _forked_signal)
    _separate(cells, kombu.serialization.registry, _forked_registry)
    cells.name((vars(logging.getLogger()), "handlers"), fresh=keep, fork=_forked_handlers)
    for app in list(celery._state._get_active_apps()):
        _separate(cells, app, fork_body)


def hang_up() -> None:
    """What the test's apps keep of simulated servers is of no use when these are gone, and nobody reads the logs."""
    testing: Any = sys.modules.get("celery.contrib.testing.worker")
    for handler in list(logging.getLogger().handlers):
        if testing is not None and isinstance(handler, testing.TestWorkController.QueueHandler):
            logging.getLogger().removeHandler(handler)
    for app in list(celery._state._get_active_apps()):
        body = vars(app)
        body.update(_pool=None, _backend_cache=None)
        vars(body["_local"]).clear()
        if "amqp" in body:
            body["amqp"]._producer_pool = None
