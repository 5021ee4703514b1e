"""Result backends that live in the interpreter's memory: one store of the world."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import celery.app.base
import celery.backends.cache as cache
import celery.result
from kombu.utils.functional import LRUCache

from tasksim.patching.table import Row
from tasksim.worker.world import World

#: Seconds that a look at cache+memory takes in a world without an app.
LOOK = 50e-6
#: What a process has last seen of each result; so many are remembered.
_SEEN, _REMEMBERED = "seen results", 1000


def _store(_: World) -> object:
    make: Any = LRUCache
    return make(limit=None)


def _get(world: World) -> object:
    real = cache.DummyClient.get
    kernel = world.kernel

    def get_in_a_moment(self: Any, key: Any, *arguments: Any, **options: Any) -> Any:
        kernel.sleep(LOOK)
        return real(self, key, *arguments, **options)

    def get(self: Any, key: Any, *arguments: Any, **options: Any) -> Any:
        process = kernel.current
        seen = process.own.setdefault(_SEEN, {})
        value = real(self, key, *arguments, **options)
        if value is not None and seen.get(key) is not value:
            # Something new: whoever finds that does not poll.
            if len(seen) >= _REMEMBERED:
                seen.clear()
            seen[key], process.polls = value, 0
            return value
        kernel.poll_point()
        return real(self, key, *arguments, **options)

    # Among workers in the test's own process, where no wire has a latency, looking is what takes a moment.
    return get_in_a_moment if world.app is None else get


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


def _result_del(world: World) -> object:
    real, kernel = celery.result.AsyncResult.__del__, world.kernel

    def forget(result: Any) -> None:
        with contextlib.suppress(Exception):  # as in a finalizer
            real(result)

    def collected(result: Any) -> None:
        if kernel.collecting:
            kernel.spawn(kernel.driver, forget, result)
        else:
            real(result)

    return collected


ROWS = (
    Row(
        "celery.result:AsyncResult.__del__",
        "it may ask a server something and wait, which it cannot in the middle of a collection: it does so after that",
        _result_del,
    ),
    Row("celery.app.base:Celery._get_backend", "notes the backend, whose results may outlive it", _new_backend),
    Row("celery.backends.cache:_DUMMY_CLIENT_CACHE", "cache+memory: one store for all processes of the world", _store),
    Row("celery.backends.cache:DummyClient.get", "a look at a result is a point where others may run", _get),
)
