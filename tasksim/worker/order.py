"""Orders that Celery and kombu leave to a hash or to an address in memory, made orders of time."""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import Any

import celery.bootsteps
import celery.worker
import celery.worker.consumer.delayed_delivery
import kombu.asynchronous.timer as timer

from tasksim.patching.table import Row
from tasksim.worker.world import World


class OrderedSet(MutableSet[Any]):
    """A set in order of insertion; a plain set passes for an instance, and it prints as one does."""

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
        # Celery puts sets into the texts with which it answers remote control commands.
        return f"{{{', '.join(map(repr, self._items))}}}" if self._items else "set()"

    __hash__ = None  # type: ignore[assignment]


OrderedSet.register(set)


class SortedSet(OrderedSet):
    """For sets that the user has filled, whose order of insertion is lost: in the order of their texts."""

    __slots__ = ()

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(sorted(items, key=str))


#: Modules whose sets are iterated; a global named `set` shadows the builtin for their calls of `set()`.
_MODULES = (
    "kombu.asynchronous.hub",
    "kombu.transport.redis",
    "kombu.transport.virtual.base",
    "kombu.connection",
    "kombu.resource",
    "celery.bootsteps",
    "celery.canvas",
    "celery.utils.graph",
    "celery.worker.consumer.consumer",
    "celery.worker.consumer.gossip",
    "celery.worker.control",
    "celery.backends.base",
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
    Row("kombu.entity:set", "a queue's bindings are made in the order of a set", lambda _: SortedSet, new=True),
    Row("celery.bootsteps:Blueprint.claim_steps", "steps come from a set of classes", _claim_steps),
    Row("celery.worker.worker:WorkController.setup_includes", "`include` comes from a set of names", _setup_includes),
    Row("celery.worker.consumer.delayed_delivery:DelayedDelivery._validate_broker_urls",
        "brokers are connected to in the order of a set of addresses", _broker_urls),
    Row("celery.result:ResultSet._iter_meta", "results are asked for, and told, in the order of a set", _iter_meta),
    Row("kombu.asynchronous.timer:Timer.Entry", "entries of one time are ordered by id()", _timer_entry),
    Row("kombu.common:generate_oid", "made of the thread's and the object's address", _object_id),
    Row("os:getloadavg", "heartbeats carry the machine's load", _load_average),
)
