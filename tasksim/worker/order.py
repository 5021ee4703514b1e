"""Orders that Celery and kombu leave to a hash or to an address in memory, made orders of time."""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import Any

import celery.bootsteps
import kombu.asynchronous.timer as timer

from tasksim.patching.table import Row
from tasksim.worker.world import World


class OrderedSet(MutableSet[Any]):
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

    def update(self, *others: Iterable[Any]) -> None:
        """As set.update."""
        for other in others:
            self._items.update(dict.fromkeys(other))

    def union(self, *others: Iterable[Any]) -> OrderedSet:
        """As set.union."""
        result = OrderedSet(self._items)
        result.update(*others)
        return result

    def difference(self, *others: Iterable[Any]) -> OrderedSet:
        """As set.difference."""
        gone = set(itertools.chain(*others))
        return OrderedSet(item for item in self._items if item not in gone)

    def intersection(self, *others: Iterable[Any]) -> OrderedSet:
        """As set.intersection."""
        result = OrderedSet(self._items)
        result.intersection_update(*others)
        return result

    def difference_update(self, *others: Iterable[Any]) -> None:
        """As set.difference_update."""
        for item in list(itertools.chain(*others)):
            self._items.pop(item, None)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """As set.intersection_update."""
        for other in others:
            both = set(other)
            self._items = {item: None for item in self._items if item in both}

    def symmetric_difference(self, other: Iterable[Any]) -> OrderedSet:
        """As set.symmetric_difference."""
        others = OrderedSet(other)
        return self.difference(others).union(others.difference(self._items))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """As set.symmetric_difference_update."""
        self._items = dict.fromkeys(self.symmetric_difference(other))

    def issuperset(self, other: Iterable[Any]) -> bool:
        """As set.issuperset."""
        return all(item in self._items for item in other)

    def issubset(self, other: Iterable[Any]) -> bool:
        """As set.issubset."""
        return set(self._items) <= set(other)

    def copy(self) -> OrderedSet:
        """As set.copy."""
        return OrderedSet(self._items)

    def clear(self) -> None:
        """As set.clear."""
        self._items.clear()

    def pop(self) -> Any:
        """The oldest item, where a set gives any."""
        for item in self._items:
            del self._items[item]
            return item
        raise KeyError("pop from an empty set")

    def __repr__(self) -> str:
        return f"OrderedSet({list(self._items)!r})"

    __hash__ = None  # type: ignore[assignment]


#: Modules whose sets are iterated; a global named `set` shadows the builtin for their calls of `set()`.
_MODULES = (
    "kombu.asynchronous.hub",
    "kombu.transport.redis",
    "kombu.transport.virtual.base",
    "kombu.connection",
    "celery.bootsteps",
    "celery.utils.graph",
    "celery.worker.consumer.consumer",
    "celery.worker.consumer.gossip",
    "celery.backends.redis",
    "celery.concurrency.asynpool",
)


def _claim_steps(_: World) -> object:
    real = celery.bootsteps.Blueprint.claim_steps

    def claim_steps(self: Any) -> Any:
        self.types = sorted(
            self.types, key=lambda step: step if isinstance(step, str) else step.__module__ + step.__qualname__
        )
        return real(self)

    return claim_steps


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


def _object_id(world: World) -> object:
    numbers = itertools.count(1)
    kernel = world.kernel

    def generate_oid(_node_id: int, _process_id: int, _thread_id: int, instance: object) -> str:
        # The instance is kept with its id, so that no other one can come to have its address.
        known = kernel.current.own.setdefault("oids", {})
        if id(instance) not in known:
            pid = 0 if kernel.current is kernel.driver else kernel.current.pid
            text = f"tasksim-{kernel.choice.seed}-{pid}-{next(numbers)}"
            known[id(instance)] = instance, str(uuid.uuid3(uuid.NAMESPACE_OID, text))
        return str(known[id(instance)][1])

    return generate_oid


def _load_average(world: World) -> object:
    real, kernel, ours = os.getloadavg, world.kernel, threading.get_ident()

    def getloadavg() -> tuple[float, float, float]:
        if kernel.current is kernel.driver or threading.get_ident() != ours:
            return real()
        return 0.0, 0.0, 0.0

    return getloadavg


_make_set: Callable[[World], object] = lambda _: OrderedSet  # noqa: E731

ROWS = (
    *(Row(f"{module}:set", "iterated sets of strings or objects", _make_set, new=True) for module in _MODULES),
    Row("celery.bootsteps:Blueprint.claim_steps", "steps come from a set of classes", _claim_steps),
    Row("kombu.asynchronous.timer:Timer.Entry", "entries of one time are ordered by id()", _timer_entry),
    Row("kombu.common:generate_oid", "made of the thread's and the object's address", _object_id),
    Row("os:getloadavg", "heartbeats carry the machine's load", _load_average),
)
