"""Orders that Celery and kombu leave to a hash or to an address in memory, made orders of time."""

from __future__ import annotations

import itertools
import os
import uuid
from _thread import get_ident
from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import Any, Self

import celery.bootsteps
import celery.concurrency.asynpool as asynpool
import celery.worker
import celery.worker.consumer.delayed_delivery
import kombu.asynchronous.hub as hub
import kombu.asynchronous.timer as timer

from tasksim.patching.table import Row
from tasksim.worker.world import World


class _SetMethods(MutableSet[Any]):
    """The methods of a set that collections.abc does not give; `add`, `discard` and `clear` are the subclass's."""

    __slots__ = ()

    def __init__(self, items: Iterable[Any] = ()) -> None:
        """Begin with these items."""
        super().__init__()
        self.update(items)

    def update(self, *others: Iterable[Any]) -> None:
        """As set.update."""
        for other in others:
            for item in other:
                self.add(item)

    def union(self, *others: Iterable[Any]) -> Self:
        """As set.union."""
        result = self.copy()
        result.update(*others)
        return result

    def difference(self, *others: Iterable[Any]) -> Self:
        """As set.difference."""
        result = self.copy()
        result.difference_update(*others)
        return result

    def intersection(self, *others: Iterable[Any]) -> Self:
        """As set.intersection."""
        result = self.copy()
        result.intersection_update(*others)
        return result

    def difference_update(self, *others: Iterable[Any]) -> None:
        """As set.difference_update."""
        if self:
            for item in list(itertools.chain(*others)):
                self.discard(item)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """As set.intersection_update."""
        for other in others:
            both = set(other)
            self.difference_update([item for item in self if item not in both])

    def symmetric_difference(self, other: Iterable[Any]) -> Self:
        """As set.symmetric_difference."""
        others = type(self)(other)
        return self.difference(others).union(others.difference(self))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """As set.symmetric_difference_update."""
        found = self.symmetric_difference(other)
        self.clear()
        self.update(found)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """As set.issuperset."""
        return all(item in self for item in other)

    def issubset(self, other: Iterable[Any]) -> bool:
        """As set.issubset."""
        return set(self) <= set(other)

    def copy(self) -> Self:
        """As set.copy."""
        return type(self)(self)

    def pop(self) -> Any:
        """The oldest item, where a set gives any."""
        for item in self:
            self.discard(item)
            return item
        raise KeyError("pop from an empty set")

    def __repr__(self) -> str:
        # As a set does: Celery puts sets into the texts with which it answers remote control commands.
        return f"{{{', '.join(map(repr, self))}}}" if self else "set()"


class OrderedSet(_SetMethods):
    """A set in order of insertion."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Any) -> None:
        """As set.add."""
        self._items[item] = None

    def discard(self, item: Any) -> None:
        """As set.discard."""
        self._items.pop(item, None)

    def clear(self) -> None:
        """As set.clear."""
        self._items.clear()


OrderedSet.register(set)  # a plain set passes for one, where the name `set` is this class


_keys_of: Callable[..., dict[Any, None]] = dict.fromkeys
_forget: Callable[..., None] = dict.pop
_take_all: Callable[..., None] = dict.update


class LoopSet(_SetMethods, dict[Any, None]):  # type: ignore[misc]
    """A set in order of insertion for the event loops, which use theirs twenty times for each task.

    It is a dictionary, so most of what they do is done in C, as for a set. Where somebody might ask for its type it
    must not be used.
    """

    __slots__ = ()

    def __init__(self, items: Iterable[Any] = ()) -> None:
        if items:
            _take_all(self, _keys_of(items))

    __contains__, __iter__, __len__ = dict.__contains__, dict.__iter__, dict.__len__
    add, clear = dict.setdefault, dict.clear

    def discard(self, item: Any) -> None:
        """As set.discard."""
        _forget(self, item, None)


class SortedSet(LoopSet):
    """For sets that the user has filled, whose order of insertion is lost: in the order of their texts."""

    __slots__ = ()

    def __init__(self, items: Iterable[Any] = ()) -> None:
        if items:
            _take_all(self, _keys_of(sorted(items, key=str)))


#: Modules whose sets are iterated; a global named `set` shadows the builtin for their calls of `set()`.
_MODULES = (
    "celery.beat",
    "celery.bootsteps",
    "celery.canvas",
    "celery.utils.graph",
    "celery.worker.consumer.consumer",
    "celery.worker.consumer.gossip",
    "celery.worker.control",
    "celery.backends.base",
    "celery.backends.redis",
)
_LOOPS = (
    "kombu.connection",
    "kombu.asynchronous.hub",
    "kombu.resource",
    "kombu.transport.redis",
    "kombu.transport.virtual.base",
    "celery.concurrency.asynpool",
)


def _numbers(owner: Any, *names: str) -> Callable[[World], object]:
    """Builtin sets for what holds descriptors only: the order of numbers is no matter of chance."""

    def make(_: World) -> object:
        real = owner.__init__

        def init(self: Any, *arguments: Any, **options: Any) -> None:
            real(self, *arguments, **options)
            state = vars(self)
            for name in names:
                state[name] = set(state[name])
            if "_busy_workers" in state:
                state["_mark_worker_as_available"] = state["_busy_workers"].discard

        return init

    return make


def _claim_steps(_: World) -> object:
    real = celery.bootsteps.Blueprint.claim_steps

    def claim_steps(self: Any) -> Any:
        self.types = sorted(
            self.types, key=lambda step: step if isinstance(step, str) else step.__module__ + step.__qualname__
        )
        return real(self)

    return claim_steps


def _setup_includes(_: World) -> object:
    real = celery.worker.WorkController.setup_includes

    def setup_includes(self: Any, includes: Any) -> None:
        real(self, includes)
        self.app.conf.include = tuple(sorted(self.app.conf.include))

    return setup_includes


def _broker_urls(_: World) -> object:
    real = celery.worker.consumer.delayed_delivery.DelayedDelivery._validate_broker_urls

    def validate_broker_urls(self: Any, broker_urls: Any) -> list[str]:
        valid = real(self, broker_urls)
        urls = broker_urls.split(";") if isinstance(broker_urls, str) else broker_urls
        return [url for url in dict.fromkeys(urls) if url in valid]

    return validate_broker_urls


def _iter_meta(_: World) -> object:
    def iter_meta(self: Any, **options: Any) -> Iterator[Any]:
        ids = OrderedSet(result.id for result in self.results)
        return (meta for _, meta in self.backend.get_many(ids, max_iterations=1, **options))

    return iter_meta


def _timer_entry(_: World) -> object:
    numbers = itertools.count()
    base: Any = timer.Timer.Entry

    class Entry(base):  # type: ignore[misc, unused-ignore]
        """An entry that compares by the order of making, where the original compares by address."""

        __slots__ = ("_number",)

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._number = next(numbers)

        def __lt__(self, other: Any) -> bool:
            return bool(self._number < other._number)

    return Entry


def _schedule_entry(_: World) -> object:
    def earlier(self: Any, other: Any) -> bool:
        return bool(self.name < other.name)

    return earlier


def _object_id(world: World) -> object:
    numbers = itertools.count(1)
    kernel = world.kernel

    def generate_oid(_node_id: int, _process_id: int, thread_id: int, instance: object) -> str:
        # The instance is kept with its id, so that no other one can come to have its address. Each thread has a name
        # of its own for it: results of the rpc backend come to the queue of the thread that has called.
        known = kernel.current.own.setdefault("oids", {})
        key = thread_id, id(instance)
        if key not in known:
            pid = 0 if kernel.current is kernel.driver else kernel.current.pid
            text = f"tasksim-{kernel.choice.seed}-{pid}-{next(numbers)}"
            known[key] = instance, str(uuid.uuid3(uuid.NAMESPACE_OID, text))
        return str(known[key][1])

    return generate_oid


def _load_average(world: World) -> object:
    real, kernel, ours = os.getloadavg, world.kernel, get_ident()

    def getloadavg() -> tuple[float, float, float]:
        if kernel.current is kernel.driver or get_ident() != ours:
            return real()
        return 0.0, 0.0, 0.0

    return getloadavg


_make_set: Callable[[World], object] = lambda _: OrderedSet  # noqa: E731
_make_loop_set: Callable[[World], object] = lambda _: LoopSet  # noqa: E731

ROWS = (
    *(Row(f"{module}:set", "iterated sets of strings or objects", _make_set, new=True) for module in _MODULES),
    *(Row(f"{module}:set", "iterated sets, as above", _make_loop_set, new=True) for module in _LOOPS),
    Row("kombu.asynchronous.hub:Hub.__init__", "for speed: descriptors", _numbers(hub.Hub, "consolidate")),
    Row(
        "celery.concurrency.asynpool:AsynPool.__init__",
        "for speed: descriptors",
        _numbers(asynpool.AsynPool, "_all_inqueues", "_active_writes", "_busy_workers"),
    ),
    Row("kombu.entity:set", "a queue's bindings are made in the order of a set", lambda _: SortedSet, new=True),
    Row("celery.bootsteps:Blueprint.claim_steps", "steps come from a set of classes", _claim_steps),
    Row("celery.worker.worker:WorkController.setup_includes", "`include` comes from a set of names", _setup_includes),
    Row(
        "celery.worker.consumer.delayed_delivery:DelayedDelivery._validate_broker_urls",
        "brokers are connected to in the order of a set of addresses",
        _broker_urls,
    ),
    Row("celery.result:ResultSet._iter_meta", "results are asked for, and told, in the order of a set", _iter_meta),
    Row("kombu.asynchronous.timer:Timer.Entry", "entries of one time are ordered by id()", _timer_entry),
    Row("celery.beat:ScheduleEntry.__lt__", "as above; here by name", _schedule_entry),
    Row("kombu.common:generate_oid", "made of the thread's and the object's address", _object_id),
    Row("os:getloadavg", "heartbeats carry the machine's load", _load_average),
)
