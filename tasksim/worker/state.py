"""Celery's, kombu's and billiard's state that a fork or an exec separates in life: the table of cells.

Each entry was found by looking at what changes in these packages while a worker and its pool run. A program that is
started (a worker, beat) begins with everything fresh; a forked child has what its parent had, without connections.
"""

from __future__ import annotations

import functools
import itertools
import logging
import multiprocessing.process
import sys
import types
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import billiard.common
import billiard.pool
import billiard.process
import celery._state
import celery.app.trace
import celery.bootsteps
import celery.concurrency.prefork as prefork
import celery.utils.log
import celery.worker.consumer.consumer as consumer
import celery.worker.control as control
import celery.worker.heartbeat as heartbeat
import celery.worker.request as request
import celery.worker.state as state
import kombu.asynchronous.hub
import kombu.common
import kombu.messaging
import kombu.pools
from celery.utils.collections import LimitedSet

from tasksim.errors import PatchMissing
from tasksim.kernel.cells import Cells, Make, keep
from tasksim.patching.table import Patches, Row, is_met
from tasksim.worker.order import LoopSet, OrderedSet
from tasksim.worker.world import World


def _always(value: object) -> Make:
    return lambda _: value


def _new(make: Callable[[], object]) -> Make:
    return lambda _: make()


def _copy_local(old: Any) -> Any:
    new = type(old)()
    new.__dict__.update(old.__dict__)
    return new


def _without_other_apps(finalizers: set[Any]) -> set[Any]:
    """What a new program shares with every app: built-in and shared tasks, not the tasks of other apps' decorators."""
    return {one for one in finalizers if getattr(one, "__module__", "") != "celery.app.base"}


def _filters(_: Any) -> list[Any]:
    """What an interpreter begins with; the test's own filters (pytest's `error`) are not a worker's."""
    quiet = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    return [*(("ignore", None, category, None, 0) for category in quiet), ("always", None, Warning, None, 0)]


#: Module, name, what a new program has, what a fork takes over.
NAMES: tuple[tuple[Any, str, Make, Make], ...] = (
    (state, "should_stop", _always(None), keep),
    (state, "should_terminate", _always(None), keep),
    (celery._state, "_task_join_will_block", _always(False), keep),
    (celery._state, "default_app", keep, keep),
    (celery._state, "_on_app_finalizers", _without_other_apps, set),
    (celery._state, "_tls", _copy_local, _copy_local),
    (celery.app.trace, "_localized", _new(list), list),
    (celery.app.trace, "_tasks", keep, keep),
    (celery.utils.log, "_in_sighandler", _always(False), keep),
    (prefork, "_process_hostname", _always(None), keep),
    (kombu.asynchronous.hub, "_current_loop", _always(None), keep),
    (kombu.common, "_node_id", _always(None), keep),
    (billiard.process, "_current_process", keep, keep),
    (billiard.process, "_process_counter", _new(lambda: itertools.count(1)), keep),
    (billiard.process, "_children", _new(OrderedSet), OrderedSet),
    (billiard.pool, "job_counter", _new(itertools.count), keep),
    (billiard.common, "_should_have_exited", _new(lambda: [False]), list),
    (multiprocessing.process, "_current_process", keep, keep),
    (sys, "exit", keep, keep),
    (warnings, "filters", _filters, list),
    (warnings, "showwarning", keep, keep),  # a worker lets warnings be logged, not the test
    (logging, "_warnings_showwarning", _always(None), keep),
)

#: Plain containers of celery.worker.state: several modules hold each of them, under any name.
PLAIN: dict[str, Callable[[], object]] = {
    "requests": dict,
    "revoked_stamps": dict,
    "total_count": Counter,
    "all_total_count": lambda: [0],
}

#: Instances of Python classes: their `__dict__` is exchanged.
SETS: dict[str, Callable[[], Any]] = {
    "reserved_requests": weakref.WeakSet,
    "active_requests": weakref.WeakSet,
    "scheduled_requests": weakref.WeakSet,
    "successful_requests": lambda: LimitedSet(maxlen=state.SUCCESSFUL_MAX, expires=state.SUCCESSFUL_EXPIRES),
    "revoked": lambda: LimitedSet(maxlen=state.REVOKES_MAX, expires=state.REVOKE_EXPIRES),
}

#: Places that only some releases have; a row whose place is missing in any other release is an error.
SINCE: dict[str, str] = {
    "celery.concurrency.prefork:_process_hostname": "celery>=5.7",
    "celery.worker.state:scheduled_requests": "celery>=5.7",
}

#: A name that the start of the first pool process makes.
_MADE_LATER = frozenset(("celery.app.trace:_tasks",))

#: What the test has in common with the program that it is; of all else it has its own while the simulation runs.
_KEPT_BY_THE_TEST = frozenset(("_on_app_finalizers", "_tls", "filters", "showwarning", "_warnings_showwarning"))

_HOLDERS = (state, consumer, heartbeat, control, request)


def _exists(module: Any, name: str) -> bool:
    """Does the installed release have this place?

    Raises:
        PatchMissing: it does not, and should.
    """
    place = f"{module.__name__}:{name}"
    if hasattr(module, name) or place in _MADE_LATER:
        return True
    if place in SINCE and not is_met(SINCE[place]):
        return False
    raise PatchMissing(
        f"{place} does not exist in the installed release; tasksim keeps it apart for each process. "
        "Please report this with the versions of celery, kombu and billiard."
    )


def add_cells(cells: Cells, patches: Patches) -> None:
    """Put the table into force."""
    for module, name, fresh, fork in NAMES:
        if _exists(module, name):
            namespace = vars(module)
            value = namespace.get(name)
            patches.set_item(namespace, name, value if name in _KEPT_BY_THE_TEST else fresh(value))
            cells.name((namespace, name), fresh=fresh, fork=fork)
    _add_plain_containers(cells, patches)
    for name, make in SETS.items():
        if _exists(state, name):
            body = _body_maker(make)
            cells.body(getattr(state, name), fresh=body, fork=_new(body))


def _body_maker(make: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    def body() -> dict[str, Any]:
        # The object itself is kept: a WeakSet's callbacks refer to it, so that a death is booked in the right set.
        instance = make()
        contents: dict[str, Any] = instance.__dict__
        if type(instance) is weakref.WeakSet:
            contents["data"] = LoopSet()  # requests are cancelled in the order in which they came
        contents["_tasksim_kept"] = instance
        return contents

    return body


def _add_plain_containers(cells: Cells, patches: Patches) -> None:
    named: dict[int, str] = {}
    for name, make in PLAIN.items():
        if not _exists(state, name):
            continue
        value = getattr(state, name)
        places = [(vars(state), name)]
        for module in _HOLDERS:
            places += [
                (vars(module), other)
                for other, found in vars(module).items()
                if found is value and (module, other) != (state, name)
            ]
        cells.name(*places, fresh=_new(make), fork=_new(make))
        named[id(value)] = name
    for module in _HOLDERS:
        for function in _with_bound_defaults(module):
            _exchange_defaults(function, named, cells, patches)


@functools.cache
def _with_bound_defaults(module: Any) -> list[types.FunctionType]:
    """A module's functions that have a bound method as a default argument; their code does not change."""
    return [
        function
        for function in vars(module).values()
        if isinstance(function, types.FunctionType)
        and function.__module__ == module.__name__
        and any(hasattr(default, "__self__") for default in function.__defaults__ or ())
    ]


def _exchange_defaults(function: types.FunctionType, named: dict[int, str], cells: Cells, patches: Patches) -> None:
    """Default arguments that are a method of one of these containers: each process has its own container's."""
    before = function.__defaults__ or ()
    names = [named.get(id(getattr(default, "__self__", None))) for default in before]
    if any(names):
        namespace = vars(state)

        def make(held: Callable[[Any], Any]) -> tuple[Any, ...]:
            return tuple(
                default if name is None else getattr(held((namespace, name)), default.__name__)
                for default, name in zip(before, names, strict=True)
            )

        patches.set(function, "__defaults__", before)
        cells.defaults(function, make)


# --- look-ups: objects that kombu keeps for ever and that are rarely touched


class _Own:
    """One value per process, made when first asked for."""

    def __init__(self, world: World, key: str, make: Callable[[], Any]) -> None:
        self._kernel, self._key, self._make = world.kernel, key, make

    def __call__(self) -> Any:
        own = self._kernel.current.own
        value = own.get(self._key)
        if value is None:
            value = own[self._key] = self._make()
        return value


_NOT_FORWARDED = {
    "__class__", "__new__", "__init__", "__init_subclass__", "__subclasshook__", "__getattribute__", "__setattr__",
    "__delattr__", "__class_getitem__", "__dir__", "__reduce__", "__reduce_ex__", "__sizeof__", "__doc__", "__hash__",
}  # fmt: skip


def forwarding_class(base: Any, own: Callable[[], Any]) -> type:
    """A subclass of a dictionary class whose every method acts on the running process' own instance."""

    def forward(name: str) -> Callable[..., Any]:
        real = getattr(base, name)
        return lambda _, *arguments, **options: real(own(), *arguments, **options)

    methods = {
        name: forward(name) for name in dir(base) if callable(getattr(base, name)) and name not in _NOT_FORWARDED
    }
    return type(base.__name__, (base,), methods)


def _pools(name: str) -> Callable[[World], object]:
    def make(world: World) -> object:
        base = type(getattr(kombu.pools, name))
        own = _Own(world, f"kombu.{name}", lambda: base(limit=kombu.pools.use_global_limit, close_after_fork=False))
        return forwarding_class(base, own)

    return make


def _consumer_tags(world: World) -> object:
    own = _Own(world, "kombu.tags", lambda: itertools.count(1))

    class Tags:
        def __next__(self) -> int:
            return next(own())  # type: ignore[no-any-return]

        def __iter__(self) -> Tags:
            return self

    return Tags()


def _fanout_queues(world: World) -> object:
    return forwarding_class(dict, _Own(world, "kombu.fanout_queues", dict))()


def _resolve_requirements(world: World) -> object:
    real = celery.bootsteps.Blueprint._firstpass
    seen: set[type] = set()

    def first_pass(self: Any, steps: Any) -> None:
        for step in steps.values():
            if step not in seen:
                seen.add(step)
                world.patches.set(step, "requires", step.requires)
        real(self, steps)

    return first_pass


_WHY = "each process has its own in life"

ROWS = (
    Row("kombu.pools:connections.__class__", _WHY, _pools("connections")),
    Row("kombu.pools:producers.__class__", _WHY, _pools("producers")),
    Row(
        "celery.bootsteps:Blueprint._firstpass",
        "a worker's start writes into the classes of its steps: put back at the end",
        _resolve_requirements,
    ),
    Row("kombu.messaging:Consumer._tags", "consumer tags count from 1 in each process", _consumer_tags),
)

REDIS_ROWS = (
    Row("kombu.transport.redis:Channel._fanout_queues", "bindings that this process has made", _fanout_queues),
)
