"""What a Celery app keeps for itself, in each simulated process its own."""

from __future__ import annotations

import copy
import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import celery._state
import celery.app.annotations
import celery.app.base
import celery.app.task
import celery.app.trace
from celery.local import Proxy
from kombu.clocks import LamportClock
from kombu.common import Broadcast, uuid

from tasksim.kernel.process import Process
from tasksim.patching.table import Row
from tasksim.worker.world import World

logger = logging.getLogger("tasksim")

#: Cached properties that a new program makes anew.
CACHED = ("amqp", "control", "events", "oid", "log", "timezone", "annotations")
#: Those that a fork makes anew.
_CACHED_AT_FORK = ("control", "events")

#: Celery's own name for it (celery.fixups.django).
_SKIP_CHECKS = "CELERY_SKIP_CHECKS"

Body = dict[str, Any]


def fresh_body(original: Body) -> Body:
    """The app as a program has it that has just imported it."""
    body = dict(original)
    for name in CACHED:
        body.pop(name, None)
    body.update(
        _pool=None, _local=threading.local(), _backend_cache=None, clock=LamportClock(), use_fast_trace_task=False
    )
    if "loader" in body:
        body["loader"] = copy.copy(body["loader"])
        body["loader"].worker_initialized = False
    if body.get("_conf") is not None:
        body["_conf"] = copy_of(body["_conf"])
        _own_broadcasts(body["_conf"])
    return body


def _own_broadcasts(conf: Any) -> None:
    """A broadcast queue's name is drawn when the program is imported: in life each program has another one."""
    queues = conf.get("task_queues")
    if isinstance(queues, (list, tuple)) and any(isinstance(one, Broadcast) for one in queues):
        conf["task_queues"] = [_renewed(one) if isinstance(one, Broadcast) else one for one in queues]


def _renewed(queue: Broadcast) -> Broadcast:
    new = copy.copy(queue)
    start, _, end = queue.name.rpartition(".")
    if start and len(end) == len(uuid()):
        name = f"{start}.{uuid()}"
        vars(new).update(name=name, queue=name)
    return new


def fork_body(parent: Body) -> Body:
    """The app as a forked child has it: without connections, as the after-fork hooks of Celery and kombu leave it."""
    body = dict(parent)
    for name in _CACHED_AT_FORK:
        body.pop(name, None)
    clock = LamportClock()
    clock.value = body["clock"].value
    body.update(_pool=None, _local=threading.local(), _backend_cache=None, clock=clock)
    if "loader" in body:
        body["loader"] = copy.copy(body["loader"])
    if body.get("_conf") is not None:
        body["_conf"] = copy_of(body["_conf"])
    if "amqp" in body:
        amqp = body["amqp"] = copy.copy(body["amqp"])
        amqp.__dict__.pop("router", None)
        amqp._producer_pool = None
        if "queues" in amqp.__dict__:
            amqp.__dict__["queues"] = copy.copy(amqp.__dict__["queues"])
    return body


def without_always_eager(app: Any, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """These settings, and that tasks run for real where the app asks for Celery's own eager mode."""
    if not app.conf.task_always_eager or "task_always_eager" in settings:
        return settings
    logger.warning(
        "%s sets task_always_eager; inside the simulation its tasks are published and run by workers all the same. "
        'For calls that wait for their end use Simulation(app, mode="eager").',
        app,
    )
    return {**settings, "task_always_eager": False}


def taken_from(app: Any, settings: Mapping[str, Any]) -> list[tuple[Any, str, Any]]:
    """What the app's tasks have taken over from these settings: task, attribute, new value.

    A task takes some settings (`task_acks_late` becomes its `acks_late`) when the app is finalized, where it says
    nothing of its own (Task.from_config).
    """
    return [
        (task, attribute, settings[setting])
        for task in (app.tasks.values() if settings else ())
        for attribute, setting in type(task).from_config
        if setting in settings and getattr(task, attribute) == app.conf[setting]
    ]


def annotated(app: Any, settings: Mapping[str, Any]) -> list[tuple[Any, str, Any]]:
    """What these settings' `task_annotations` make of the app's tasks (Task.annotate): task, attribute, value."""
    annotations = celery.app.annotations.prepare(settings.get("task_annotations"))
    return [
        (task, attribute, value)
        for task in (app.tasks.values() if annotations else ())
        for each in reversed(list(celery.app.annotations.resolve_all(annotations, type(task))))
        for attribute, value in each.items()
        if not attribute.startswith("@")
    ]


def copy_of(conf: Any) -> Any:
    """A copy of an app's settings; before Celery 5.7 their own `copy` mixes up its arguments."""
    new = object.__new__(type(conf))
    maps = [conf.maps[0].copy(), *conf.maps[1:]]
    vars(new).update(vars(conf), maps=maps, changes=maps[0], defaults=maps[1:], _observers=[])
    return new


def override(conf: Any, settings: Mapping[str, Any]) -> None:
    """Let these settings hold, whatever the app's own say.

    They are set by each name by which they are looked up: before Celery 5.7 what an app reads from an object with a
    namespace (`CELERY_BROKER_URL`) goes before what is set later by the plain name (ConfigurationView.__getitem__).
    """
    conf.update({key: value for name, value in settings.items() for key in (*conf._to_keys(name), name)})


def import_modules(app: Any) -> None:
    """Import what a worker would, before anything is replaced.

    Django's system checks, which Celery makes then, are left to the simulated workers: a check may ask a server.
    """
    before = os.environ.get(_SKIP_CHECKS)
    os.environ[_SKIP_CHECKS] = "1"
    try:
        app.loader.import_default_modules()
    finally:
        if before is None:
            del os.environ[_SKIP_CHECKS]
        else:
            os.environ[_SKIP_CHECKS] = before


def shared_tasks_of(app: Any) -> Callable[[Any], Any]:
    """A function that gives for a shared task the one of this app, and of anything else the same."""

    def resolve(target: Any) -> Any:
        if type(target) is not Proxy:  # isinstance would ask what it stands for
            return target
        before = celery._state._tls.current_app
        celery._state._tls.current_app = app
        try:
            return target._get_current_object()
        except LookupError:
            return target
        finally:
            celery._state._tls.current_app = before

    return resolve


def _made_by(kind: type) -> set[str]:
    """Names of cached properties: an app works them out from the settings that hold when it is first asked."""
    members = [member for one in kind.__mro__ for member in vars(one).items()]
    return {name for name, value in members if isinstance(value, functools.cached_property)}


class Apps:
    """The apps of a simulation: which process knows which."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._original: Body = {}
        self.begun = False
        self._protected = "_stackprotected" in vars(celery.app.task.Task)
        self._made: list[tuple[Process, Any]] = []

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Let the simulation's app be a new one in each process, the test's included.

        Args:
            settings: what the simulation sets otherwise than the app does.
        """
        app = self._world.app
        app.finalize()
        _ = app.conf.broker_url, app.loader, app.tasks  # what is lazy is the same for all
        self._original = app.__dict__
        self.begun = True
        settings = without_always_eager(app, settings)
        model = dict(self._original)
        for task, attribute, value in (*taken_from(app, settings), *annotated(app, settings)):
            self._world.patches.set_item(vars(task), attribute, value)
            self._world.patches.set_item(vars(task), "_exec_options", None)  # made of them when it was called before
        if settings:
            model["_conf"] = copy_of(app.conf)
            override(model["_conf"], settings)
        self._world.patches.set(app, "__dict__", {**fresh_body(model), "_conf": model["_conf"]})
        self._world.kernel.cells.body(app, fresh=lambda: fresh_body(model), fork=fork_body)
        self._world.patches.set(celery._state, "default_app", app)
        self._world.patches.set(celery._state._tls, "current_app", app)

    def made(self, app: Any) -> None:
        """An app was made inside the simulation: it belongs to the process that made it, and to its children."""
        process = self._world.kernel.current
        self._world.kernel.cells.adopt(process, app, fork=fork_body)
        self._made.append((process, app))

    def end(self) -> None:
        """Keep what the test has set on the app; forget apps of simulated processes."""
        body = self._world.app.__dict__
        kept = fresh_body(dict(self._original))  # what a program makes anew belongs to the simulation
        known = {*self._original, *CACHED, *kept, "_conf", *_made_by(type(self._world.app))}
        self._original.update({name: value for name, value in body.items() if name not in known})
        if not self._protected and "_stackprotected" in vars(celery.app.task.Task):
            # As celery.app.trace.reset_worker_optimizations does; Task.__call__ itself is a row of `host.py`.
            del celery.app.task.Task._stackprotected
            celery.app.trace._patched.pop("BaseTask.__call__", None)
        for process, app in self._made:
            if process is not self._world.kernel.driver:
                celery._state._deregister_app(app)


def _register_app(world: World) -> object:
    real = celery._state._register_app

    def register(app: Any) -> None:
        real(app)
        world.apps.made(app)

    return register


ROWS = (Row("celery.app.base:_register_app", "an app belongs to the process that makes it", _register_app),)
