"""Result backends that live in the interpreter's memory: one store of the world."""

from __future__ import annotations

import weakref
from typing import Any

import celery.app.base
import celery.backends.cache as cache
from kombu.utils.functional import LRUCache

from tasksim.patching.table import Row
from tasksim.worker.world import World


def _store(_: World) -> object:
    make: Any = LRUCache
    return make(limit=None)


def _get(world: World) -> object:
    real = cache.DummyClient.get
    poll_point = world.kernel.poll_point

    def get(self: Any, key: Any, *arguments: Any, **options: Any) -> Any:
        poll_point()
        return real(self, key, *arguments, **options)

    return get


def _new_backend(world: World) -> object:
    real = celery.app.base.Celery._get_backend

    def get_backend(app: Any) -> Any:
        backend = real(app)
        world.backends.append(weakref.ref(backend))
        return backend

    return get_backend


def disarm(backends: list[weakref.ref[Any]]) -> None:
    """Let results that outlive their simulation not ask its servers to unsubscribe: those are gone."""
    for reference in backends:
        backend = reference()
        if backend is not None:
            vars(backend)["remove_pending_result"] = lambda result: result


ROWS = (
    Row("celery.app.base:Celery._get_backend", "notes the backend, whose results may outlive it", _new_backend),
    Row("celery.backends.cache:_DUMMY_CLIENT_CACHE", "cache+memory: one store for all processes of the world", _store),
    Row("celery.backends.cache:DummyClient.get", "a look at a result is a point where others may run", _get),
)
