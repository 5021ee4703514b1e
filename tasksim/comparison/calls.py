"""The calls that the function makes itself, not those of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from celery._state import get_current_task

from tasksim.comparison.surroundings import open_transactions
from tasksim.comparison.values import difference, kept, short
from tasksim.patching.table import Row, find

__all__ = ["ROWS", "Called", "Calls", "written"]


@dataclass(slots=True)
class Called:
    """One call.

    Attributes:
        text: as it was written, about.
        task: the name of the task, or the kind of canvas.
        error: what it raised.
        mutated: the arguments before and after, where the call has changed them.
        transactions: how many transactions the function had open.
    """

    text: str
    task: str
    error: Exception | None = None
    mutated: tuple[str, str] | None = None
    transactions: int = 0


def written(name: str, args: Any, kwargs: Any) -> str:
    """A call as it is written in Python."""
    parts = [short(one) for one in args or ()] + [f"{key}={short(value)}" for key, value in (kwargs or {}).items()]
    return f"{name}({', '.join(parts)})"


class Calls:
    """Notes the calls of the function."""

    def __init__(self) -> None:
        self.made: list[Called] = []
        self._depth, self._open = 0, open_transactions()

    def call(self, task: str, text: str, given: Any, go_on: Callable[[], Any]) -> Any:
        """Make a call. Those that it makes in turn, and those of tasks, are not the function's own.

        Args:
            given: the arguments, which the task may change.
        """
        if self._depth or get_current_task() is not None:
            return go_on()
        called = Called(text, task, transactions=open_transactions() - self._open)
        self.made.append(called)
        before = kept(given)
        self._depth += 1
        try:
            return go_on()
        except Exception as error:
            called.error = error
            raise
        finally:
            self._depth -= 1
            if difference(before, given, "") is not None:
                called.mutated = short(before), short(given)


def _of_task(place: str) -> Row:
    owner, name = find(place)
    takes_name = name == "send_task"

    def make(calls: Calls) -> object:
        real = getattr(owner, name)

        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            task = (arguments[0] if arguments else options.get("name")) if takes_name else self.name
            values = list(arguments[1:] if takes_name else arguments)
            args = values[0] if values else options.get("args")
            kwargs = values[1] if len(values) > 1 else options.get("kwargs")
            text = written(str(task), args, kwargs)
            return calls.call(str(task), text, [args, kwargs], lambda: real(self, *arguments, **options))

        return call

    return Row(place, "a comparison notes the function's calls", make)


def _arguments(signature: Any) -> Iterator[Any]:
    inner = [*getattr(signature, "tasks", ()), *filter(None, [getattr(signature, "body", None)])]
    for one in inner:
        yield from _arguments(one)
    if not inner:
        yield signature.get("args")
        yield signature.get("kwargs")


def _of_canvas(place: str) -> Row:
    owner, name = find(place)
    kind = owner.__name__.strip("_")

    def make(calls: Calls) -> object:
        real = getattr(owner, name)

        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            given = list(_arguments(self))
            return calls.call(kind, f"{kind} {self!r}", given, lambda: real(self, *arguments, **options))

        return call

    return Row(place, "a comparison notes the function's calls", make)


ROWS = (
    _of_task("celery.app.task:Task.apply_async"),
    _of_task("celery.app.base:Celery.send_task"),
    _of_canvas("celery.canvas:_chain.apply_async"),
    _of_canvas("celery.canvas:group.apply_async"),
    _of_canvas("celery.canvas:_chord.apply_async"),
)
