"""What lies around a task that runs: context variables, thread-locals, globals, open transactions, the request."""

from __future__ import annotations

import contextvars
import decimal
import sys
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import celery.app.task

from tasksim.comparison.values import kept
from tasksim.patching.table import Row
from tasksim.patching.threads import modules_around

__all__ = ["READ_FIELDS", "ROWS", "Reads", "globals_of", "open_transactions", "visible"]

#: Of the request: what is something else in a worker.
READ_FIELDS = (
    "is_eager",
    "hostname",
    "delivery_info",
    "origin",
    "reply_to",
    "correlation_id",
    "eta",
    "expires",
    "group",
)
#: Globals of these types are compared.
_STATE = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, deque, Counter, defaultdict, type(None))


def visible(modules: set[str]) -> dict[str, Any]:
    """By name: the context variables, and the attributes of thread-locals in these modules and their packages."""
    found: dict[str, Any] = {}
    for var, value in contextvars.copy_context().items():
        seen = _rules(value) if isinstance(value, decimal.Context) else value
        if not isinstance(value, decimal.Context) or seen != _rules(decimal.DefaultContext):
            found[f"context variable {var.name}"] = seen
    for module in modules_around(modules):
        for name, value in list(vars(module).items()):
            if isinstance(value, threading.local):
                for attribute, inner in vars(value).items():
                    found[f"thread-local {module.__name__}.{name}.{attribute}"] = inner
    return found


def _rules(context: decimal.Context) -> str:
    """How decimals are computed. Each first use makes a context, as the default has it; its flags are what happened."""
    plain = context.copy()
    plain.clear_flags()
    return repr(plain)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def globals_of(task: Any) -> dict[str, Any]:
    """Copies of the globals, of plain types, that the function of a task names."""
    function = getattr(task, "__wrapped__", None) or task.run
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        return {}
    namespace, module = function.__globals__, function.__module__
    return {
        f"{module}.{name}": kept(namespace[name])
        for name in dict.fromkeys(_names(function.__code__))
        if name in namespace and type(namespace[name]) in _STATE
    }


def open_transactions() -> int:
    """How many blocks of Django's `atomic` are open, over all databases, not counting those of a test case."""
    database = sys.modules.get("django.db")
    if database is None or "django.conf" not in sys.modules or not sys.modules["django.conf"].settings.configured:
        return 0
    return sum(
        not getattr(block, "_from_testcase", False)
        for connection in database.connections.all(initialized_only=True)
        for block in connection.atomic_blocks
    )


class Reads:
    """Which fields of its request each task's own code looks at, and what it sees."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, Any]] = {}

    def read(self, request: Any, name: str, value: Any, module: str) -> None:
        """A module reads a field."""
        if request.id is not None and not module.startswith(("celery", "kombu", "tasksim", "billiard")):
            self.seen.setdefault(request.id, {}).setdefault(name, kept(value))


def _field(name: str) -> Callable[[Reads], object]:
    def make(reads: Reads) -> object:
        default = getattr(celery.app.task.Context, name, None)

        def get(request: Any) -> Any:
            value = vars(request).get(name, default)
            reads.read(request, name, value, str(sys._getframe(1).f_globals.get("__name__", "")))
            return value

        def put(request: Any, value: Any) -> None:
            vars(request)[name] = value

        return property(get, put)

    return make


ROWS = tuple(
    Row(f"celery.app.task:Context.{name}", "a comparison says what a task reads of its request", _field(name))
    for name in READ_FIELDS
)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What is new or another object or value afterwards."""
    return {
        name: value
        for name, value in after.items()
        if name not in before or not (before[name] is value or _equal(before[name], value))
    }


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:
        return False
