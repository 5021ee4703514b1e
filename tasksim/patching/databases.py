"""Databases: connections that each process has for itself, closed when it dies as an operating system would.

The databases are real, and a statement takes no virtual time. What Django and SQLAlchemy keep for a thread or for a
process (connections, pools, scoped sessions) is looked up in the running simulated process. Two things are shared by
all: a Django connection within the transaction of a test case, for nobody else could see what is in it, and a
SQLAlchemy engine for a database in memory.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from tasksim.errors import UsageError
from tasksim.kernel.process import Process, running_thread
from tasksim.patching.table import Row

_KEY = "databases"


class Databases:
    """The connections of the simulated processes.

    Attributes:
        engines_of_the_world: SQLAlchemy's, by URL, that all processes share and that end with the simulation.
    """

    def __init__(
        self, driver: Process, running: Callable[[], Process], fail: Callable[[BaseException], object]
    ) -> None:
        self._driver, self.running, self.fail = driver, running, fail
        self._opened: dict[Process, list[Any]] = {}
        self._blocks: dict[Process, list[Any]] = {}
        self._of_the_test: list[tuple[str, Any]] = []
        self.engines_of_the_world: dict[str, Any] = {}

    # --- what is opened, and closed

    def opened(self, connection: Any) -> None:
        """The running process has opened a connection to a database."""
        tests_own = any(one.connection is connection for _, one in self._of_the_test)
        if self.running() is not self._driver and not tests_own:
            self._opened.setdefault(self.running(), []).append(connection)

    def ended(self, process: Process) -> None:
        """A process has ended: its transactions roll back."""
        for block in reversed(self._blocks.pop(process, ())):
            block.__exit__(SystemExit, SystemExit(), None)
        for connection in self._opened.pop(process, ()):
            with contextlib.suppress(Exception):  # it may be closed, and every driver has errors of its own
                connection.close()

    def end(self) -> None:
        """The end of all processes."""
        for process in list({**self._blocks, **self._opened}):
            self.ended(process)
        for engine in self.engines_of_the_world.values():
            engine.dispose()

    # --- Django: the transaction of a test case

    def find_tests_own(self) -> list[Any]:
        """Note the connections that the test has opened; called in the test, whose context they hang on.

        Returns:
            Those to SQLite, as that driver has them.
        """
        if not _django_is_used():
            return []
        handler = sys.modules["django.db"].connections
        wrappers = [getattr(handler._connections, alias, None) for alias in handler]
        self._of_the_test = [(one.alias, one) for one in wrappers if one is not None]
        return [one.connection for _, one in self._of_the_test if one.vendor == "sqlite" and one.connection is not None]

    def shared(self) -> list[tuple[str, Any]]:
        """Aliases and connections in a test case's transaction, which will be rolled back."""
        return [(alias, one) for alias, one in self._of_the_test if _in_test_case(one)]

    def is_anothers(self, wrapper: Any) -> bool:
        """Is this the test's connection, and does another process run?"""
        return self.running() is not self._driver and any(wrapper is one for _, one in self._of_the_test)

    def entered(self, block: Any, wrapper: Any) -> None:
        """The running process has begun a transaction, or a savepoint, on a connection that is not its own."""
        if not self.is_anothers(wrapper):
            return
        others = [process.name for process in self._blocks if process is not self.running() and self._blocks[process]]
        self._blocks.setdefault(self.running(), []).append(block)
        if others:
            self.fail(UsageError(
                f"{self.running().name} begins a transaction while {others[0]} is in the middle of one, and both are "
                "savepoints of the one transaction in which the test runs (django_db, django.test.TestCase): each "
                "would undo the other's. Give each process a connection of its own: "
                "@pytest.mark.django_db(transaction=True), the fixture transactional_db, or TransactionTestCase"
            ))  # fmt: skip

    def waiting_for_commit(self) -> list[str]:
        """What to say of on_commit callbacks that wait for a commit which never comes; nothing if there are none."""
        count = sum(len(one.run_on_commit) for _, one in self.shared())
        if not count:
            return []
        return [
            f"{count} callback{'s' if count > 1 else ''} of transaction.on_commit (delay_on_commit) did not fire: "
            "the test's transaction is never committed.",
            "Use django_capture_on_commit_callbacks(execute=True), or @pytest.mark.django_db(transaction=True).",
        ]

    def left(self, block: Any) -> None:
        """It is over."""
        blocks = self._blocks.get(self.running(), [])
        if block in blocks:
            blocks.remove(block)

    # --- attributes that each process has for itself

    def own_attribute(self, name: str, found: Any, make: Callable[[Any], Any]) -> property:
        """A property for a class: the instance's own value in the test, one of its own in every other process.

        Args:
            name: of the attribute.
            found: what the class has at that name, such as a slot.
            make: makes a process' value from the test's.
        """
        real = found if hasattr(found, "__set__") else None

        def read(instance: Any) -> Any:
            return vars(instance)[name] if real is None else real.__get__(instance)

        def get(instance: Any) -> Any:
            process = self.running()
            if process is self._driver:
                try:
                    return read(instance)
                except KeyError:
                    raise AttributeError(name) from None
            values = process.own.setdefault(_KEY, {})
            key = id(instance), name
            if key not in values:
                values[key] = instance, make(read(instance))
            return values[key][1]

        def put(instance: Any, value: Any) -> None:
            process = self.running()
            known = real is not None or name in vars(instance)
            if process is not self._driver and known:
                process.own.setdefault(_KEY, {})[id(instance), name] = instance, value
            elif real is not None:
                real.__set__(instance, value)
            else:
                vars(instance)[name] = value

        return property(get, put)


def _in_test_case(wrapper: Any) -> bool:
    return any(getattr(block, "_from_testcase", False) for block in getattr(wrapper, "atomic_blocks", ()))


def _django_is_used() -> bool:
    return "django.db.utils" in sys.modules and bool(sys.modules["django.conf"].settings.configured)


# --- Django


class _Local:
    """Attributes of each simulated thread's own, and some that all of a process' threads have."""

    def __init__(self, common: dict[str, Any]) -> None:
        vars(self).update(_common=common, _own=weakref.WeakKeyDictionary())

    def __getattr__(self, name: str) -> Any:
        own = self._own.get(running_thread(), {})
        if name in own:
            return own[name]
        if name in self._common:
            return self._common[name]
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._own.setdefault(running_thread(), {})[name] = value

    def __delattr__(self, name: str) -> None:
        self._own.get(running_thread(), {}).pop(name, None)


def _connections(world: Any) -> object:
    databases: Databases = world.databases

    return databases.own_attribute("_connections", None, lambda _: _Local(dict(databases.shared())))


def _cache_connections(world: Any) -> object:
    return world.databases.own_attribute("_connections", None, lambda _: _Local({}))


def _connect(world: Any) -> object:
    from django.db.backends.base.base import BaseDatabaseWrapper

    real, databases = BaseDatabaseWrapper.connect, world.databases

    def connect(self: Any) -> None:
        real(self)
        databases.opened(self.connection)

    return connect


def _close(world: Any) -> object:
    from django.db.backends.base.base import BaseDatabaseWrapper

    real, databases = BaseDatabaseWrapper.close, world.databases

    def close(self: Any) -> None:
        if not databases.is_anothers(self):
            real(self)

    return close


def _enter(world: Any) -> object:
    from django.db.transaction import Atomic, get_connection

    real, databases = Atomic.__enter__, world.databases

    def enter(self: Any) -> None:
        real(self)
        databases.entered(self, get_connection(self.using))

    return enter


def _leave(world: Any) -> object:
    from django.db.transaction import Atomic

    real, databases = Atomic.__exit__, world.databases

    def leave(self: Any, *error: Any) -> None:
        databases.left(self)
        real(self, *error)

    return leave


_WHY = "each process has its own in life"

_DJANGO_ROWS = (
    Row("django.db.utils:ConnectionHandler._connections", _WHY, _connections, new=True),
    Row("django.core.cache:CacheHandler._connections", _WHY, _cache_connections, new=True),
    Row("django.db.backends.base.base:BaseDatabaseWrapper.connect", "closed when its process dies", _connect),
    Row("django.db.backends.base.base:BaseDatabaseWrapper.close", "a worker may not close the test's", _close),
    Row("django.db.transaction:Atomic.__enter__", "savepoints of a dead process are rolled back", _enter),
    Row("django.db.transaction:Atomic.__exit__", "as above", _leave),
)


# --- SQLAlchemy


def _pool(world: Any) -> object:
    from sqlalchemy.engine.base import Engine
    from sqlalchemy.pool import SingletonThreadPool, StaticPool

    def make(pool: Any) -> Any:
        return pool if isinstance(pool, (SingletonThreadPool, StaticPool)) else pool.recreate()

    return world.databases.own_attribute("pool", vars(Engine).get("pool"), make)


def _registry(world: Any) -> object:
    from sqlalchemy.util._collections import ScopedRegistry

    return world.databases.own_attribute(
        "registry", vars(ScopedRegistry).get("registry"), lambda registry: type(registry)()
    )


_SQLALCHEMY_ROWS = (
    Row("sqlalchemy.engine.base:Engine.pool", _WHY, _pool, new=True),
    Row("sqlalchemy.util._collections:ScopedRegistry.registry", _WHY, _registry, new=True),
)


def rows() -> Iterable[Row]:
    """Places that are replaced in what has been imported."""
    if _django_is_used():
        yield from _DJANGO_ROWS
    if "sqlalchemy.engine" in sys.modules:
        yield from _SQLALCHEMY_ROWS
