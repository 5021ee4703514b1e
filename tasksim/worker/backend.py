"""Result backends that live in the interpreter's memory: one store of the world."""

from __future__ import annotations

from typing import Any

import celery.backends.cache as cache
from kombu.utils.functional import LRUCache

from tasksim.patching.table import Row
from tasksim.worker.world import World


def _store(_: World) -> object:
    return LRUCache(limit=None)


def _get(world: World) -> object:
    real = cache.DummyClient.get
    poll_point = world.kernel.poll_point

    def get(self: Any, key: Any, *arguments: Any, **options: Any) -> Any:
        poll_point()
        return real(self, key, *arguments, **options)

    return get


ROWS = (
    Row("celery.backends.cache:_DUMMY_CLIENT_CACHE", "cache+memory: one store for all processes of the world", _store),
    Row("celery.backends.cache:DummyClient.get", "a look at a result is a point where others may run", _get),
)
