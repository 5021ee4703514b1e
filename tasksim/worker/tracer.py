"""Tasks as each process has them: tracers, attributes, what is patched on their classes, and those classes' hooks."""

from __future__ import annotations

import collections
import copy
import functools
import itertools
import queue
from typing import Any

import celery.app.task
import celery.app.trace
from celery.utils.objects import mro_lookup

from tasksim.events import HookCalled
from tasksim.patching.table import Row
from tasksim.worker.world import World

HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")

#: Attributes that belong to making a task, whichever process finalizes it first; all others are a process' own.
_COMMON = frozenset(
    (
        "__trace__", "_orig_run", "_app", "__bound__", "__wrapped__", "__doc__", "__module__", "__name__",
        "__qualname__", "__header__", "__v2_compat__", "backend", "_exec_options", "_backend", *HOOKS,
    )
)  # fmt: skip

_KEY = "tracers"


class LazyTracer:
    """A tracer that is built when it is first needed.

    Celery builds one for every registered task in each new pool process: 0.1 ms each, most never used.
    """

    __slots__ = ("_arguments", "_build", "_options", "_world")

    def __init__(self, build: Any, world: World, arguments: tuple[Any, ...], options: Any) -> None:
        self._build, self._world, self._arguments, self._options = build, world, arguments, options

    def build(self) -> Any:
        """The real tracer."""
        task = self._arguments[1] if len(self._arguments) > 1 else self._options["task"]
        self._world.task_classes.settle(task)
        watch_hooks(self._world, task)
        tracer = self._build(*self._arguments, **self._options)
        self._world.task_classes.settle(task)
        return tracer

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.build()(*arguments, **options)


def _build_tracer(world: World) -> object:
    real = celery.app.trace.build_tracer

    def build_tracer(*arguments: Any, **options: Any) -> LazyTracer:
        return LazyTracer(real, world, arguments, options)

    return build_tracer


def _tracer_property(world: World) -> object:
    kernel = world.kernel

    def tracers() -> dict[int, Any]:
        own = kernel.current.own
        found = own.get(_KEY)
        if found is None:
            parent = kernel.current.parent
            inherited = parent.own.get(_KEY, {}) if parent is not None and parent is not kernel.driver else {}
            found = own[_KEY] = dict(inherited)
        known: dict[int, Any] = found
        return known

    def get(task: Any) -> Any:
        found = tracers()
        tracer = found.get(id(task))
        if tracer.__class__ is LazyTracer:
            tracer = found[id(task)] = tracer.build()
        return tracer

    def put(task: Any, tracer: Any) -> None:
        if tracer.__class__ is not LazyTracer:
            world.task_classes.settle(task)
        tracers()[id(task)] = tracer

    return property(get, put)


def _belongs_to_making(task: Any, name: str) -> bool:
    if name == "run":  # by celery.app.autoretry; whoever wraps it later (as Sentry does) wraps it for its own process
        own = vars(task)
        return "_orig_run" in own and "run" not in own
    return name in _COMMON


def _set_attribute(world: World) -> object:
    kernel = world.kernel

    def set_attribute(task: Any, name: str, value: object) -> None:
        own = not _belongs_to_making(task, name) and kernel.current is not kernel.driver
        if own:
            world.task_classes.settle(task)
        if own and not kernel.cells.is_separate(task):
            processes = [kernel.driver, *(one for one in world.unix.processes.values() if not one.dead)]
            kernel.cells.separate(processes, task, fork=dict)
        object.__setattr__(task, name, value)

    return set_attribute


#: What a task's class keeps on its instance, and a fork copies.
_CONTAINERS = (list, dict, set, collections.deque, itertools.count, queue.Queue)


def own_containers(world: World) -> None:
    """Give each process its own copy of what custom classes keep on their instances: `self.seen = []` in `__init__`."""
    for task in world.app.tasks.values():
        found = {
            name for name, value in vars(task).items() if isinstance(value, _CONTAINERS) and name not in _COMMON
        }  # fmt: skip
        if found and not world.kernel.cells.is_separate(task):
            at_first = _with_copies(found, vars(task))
            world.kernel.cells.body(
                task,
                fresh=functools.partial(_with_copies, found, at_first),
                fork=functools.partial(_with_copies, found),
            )


def _with_copies(names: set[str], body: dict[str, Any]) -> dict[str, Any]:
    return {**body, **{name: _copy(body[name]) for name in names if name in body}}


def _copy(value: Any) -> Any:
    if not isinstance(value, queue.Queue):
        return copy.copy(value)
    new = type(value)(value.maxsize)
    new.queue.extend(value.queue)
    return new


def watch_hooks(world: World, task: Any) -> None:
    """Let each hook that the task's class overrides leave an event; done once for each task."""
    own = vars(task)
    for hook in HOOKS:
        if hook not in own and _is_custom(task, hook):
            _watch_hook(world, task, hook)


def _is_custom(task: Any, hook: str) -> bool:
    return (
        mro_lookup(task.__class__, hook, stop={celery.app.task.Task, object}, monkey_patched=["celery.app.task"])
        is not None
    )


def _watch_hook(world: World, task: Any, hook: str) -> None:
    real = getattr(task, hook)
    # The id is the first argument of before_start, the second of the other four but on_success, too.
    position = 0 if hook == "before_start" else 1 if hook == "on_success" else 2 if hook == "after_return" else 1

    def watched(*arguments: Any, **options: Any) -> Any:
        task_id = options.get("task_id") or (arguments[position] if len(arguments) > position else None)
        world.record(HookCalled(world.now(), world.kernel.current.name, str(task_id), task.name, hook))
        return real(*arguments, **options)

    watched.__name__ = hook
    world.patches.set_item(vars(task), hook, watched)


_WHY = "each process has its own in life"

ROWS = (
    Row("celery.app.trace:build_tracer", "built on first use instead of for each task in each child", _build_tracer),
    Row("celery.app.task:Task.__trace__", "closes over one process' host name, loader and backend", _tracer_property),
    Row("celery.app.task:Task.__setattr__", _WHY, _set_attribute, new=True),
)
