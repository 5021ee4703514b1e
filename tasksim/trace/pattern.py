"""Which event is meant: a kind, what its fields must be, and which occurrence.

A field's value may be a plain value, a function of the value, a task (anything with a name that can be called or
delayed) or a result (anything with an id). The field `worker` exists for every kind: it matches a worker's main process
and all of its pool processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from tasksim.errors import UsageError
from tasksim.events import FIELDS, KINDS, Event
from tasksim.nearest import nearest

__all__ = ["Armed", "Pattern", "attribute", "event_kind", "identity", "process_name", "worker_of"]

#: The field names that at least one kind of event has.
_ANY_FIELD = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))

_MISSING = object()

#: Gives the task's name for an id, or None.
TaskNames = Callable[[str], str | None]

FieldTest = Callable[[Event], bool]


def event_kind(kind: type[Event] | str | None) -> type[Event]:
    """The class that is meant.

    Args:
        kind: a class of `tasksim.events`, its name, or None for any event.

    Raises:
        UsageError: there is no such event.
    """
    if kind is None or kind is Event or kind == "Event":
        return Event
    if isinstance(kind, str):
        if kind in KINDS:
            return KINDS[kind]
        raise UsageError(f"no event is called {kind!r}{_did_you_mean(kind, KINDS)} Events: {', '.join(KINDS)}")
    if isinstance(kind, type) and KINDS.get(kind.__name__) is kind:
        return kind
    raise UsageError(f"{kind!r} is no event; give a class of tasksim.events or its name")


def identity(target: object) -> tuple[Literal["task", "task_id"], str]:
    """By which field, and which value of it, the events of this target are known.

    Args:
        target: a task or its name ("task"), or a result ("task_id").

    Raises:
        UsageError: it is neither.
    """
    if isinstance(target, str):
        return "task", target
    # Order matters: `AsyncResult.name` asks the result backend, so it must not be read.
    if attribute(target, "delay") is not None or callable(target):
        name = attribute(target, "name")
        if isinstance(name, str):
            return "task", name
    elif isinstance(attribute(target, "results"), list):
        raise UsageError(f"{target!r} is the result of a group, and no message has its id; ask its children, .results")
    elif isinstance(found := attribute(target, "id"), str):
        return "task_id", found
    raise UsageError(f"{target!r} is neither a task, nor the name of one, nor a result")


def attribute(target: object, name: str) -> Any:
    """An attribute of a target, or None.

    Raises:
        UsageError: it is a shared task of Celery, which asks the current app, and that does not know it.
    """
    try:
        return getattr(target, name, None)
    except LookupError as error:
        raise UsageError(
            f"this shared task cannot say who it is: the current Celery app does not know {error}. Ask by its name "
            'instead, trace.of("package.module.task"), or make the app that has it the current one (app.set_current())'
        ) from error


def worker_of(process: str) -> str:
    """The worker that a process belongs to: "w1" for "w1" and for "w1/2"."""
    return process.partition("/")[0]


def process_name(who: object) -> str:
    """The name of a process, given the name itself or a handle that has it as `.name`."""
    name = who if isinstance(who, str) else getattr(who, "name", None)
    if not isinstance(name, str):
        raise UsageError(f"{who!r} is no process; give the name of a worker or of a process, such as 'w1' or 'w1/2'")
    return name


class Pattern:
    """A kind of event, conditions on its fields, and which occurrence is meant. It has no state: see `arm`.

    Args:
        kind: a class of `tasksim.events` (its subclasses are meant too), its name, or None for any event.
        fields: mapping of field name to what is wanted there.
        nth: which occurrence, counted from 1.
        names: the name of the task with a given id; with it, `task` can be asked of kinds that carry an id only.

    Raises:
        UsageError: no such event, no such field, or `nth` is not a positive whole number.
    """

    __slots__ = ("_tests", "fields", "kind", "nth")

    def __init__(
        self,
        kind: type[Event] | str | None = None,
        fields: Mapping[str, object] | None = None,
        nth: int = 1,
        names: TaskNames | None = None,
    ) -> None:
        if not isinstance(nth, int) or isinstance(nth, bool) or nth < 1:
            raise UsageError(f"nth={nth!r}: occurrences are counted by whole numbers from 1")
        self.kind = event_kind(kind)
        self.fields = dict(fields or {})
        self.nth = nth
        self._tests = tuple(_field_test(self.kind, name, wanted, names) for name, wanted in self.fields.items())

    def fits(self, event: Event) -> bool:
        """Whether the event is of this kind and its fields are as wanted, whichever occurrence it is."""
        return isinstance(event, self.kind) and all(test(event) for test in self._tests)

    def arm(self) -> Armed:
        """A fresh counter, which has seen nothing yet."""
        return Armed(self)

    def __str__(self) -> str:
        which = "" if self.nth == 1 else f" number {self.nth}"
        given = ", ".join(f"{name}={_show(wanted)}" for name, wanted in self.fields.items())
        return f"{self.kind.__name__}{which}" + (f" with {given}" if given else "")

    def __repr__(self) -> str:
        return f"<Pattern {self}>"


class Armed:
    """A pattern that counts: attributes `pattern` and `seen`, the number of occurrences so far."""

    __slots__ = ("pattern", "seen")

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.seen = 0

    def matches(self, event: Event) -> bool:
        """Count the event if it fits; True for the nth that does, and for that one only."""
        if not self.pattern.fits(event):
            return False
        self.seen += 1
        return self.seen == self.pattern.nth


def _field_test(kind: type[Event], name: str, wanted: object, names: TaskNames | None) -> FieldTest:
    if name == "worker":
        return _worker_test(wanted)
    if name in ("task", "task_id") and wanted is not None and not _is_predicate(wanted):
        field, wanted = identity(wanted) if not isinstance(wanted, str) else (name, wanted)
        name = field
    _check_field(kind, name, names)
    read = _task_reader(names) if name == "task" and names else lambda event: getattr(event, name, _MISSING)
    if _is_predicate(wanted) and callable(wanted):
        predicate = wanted
        return lambda event: (value := read(event)) is not _MISSING and bool(predicate(value))
    return lambda event: bool(read(event) == wanted)


def _check_field(kind: type[Event], name: str, names: TaskNames | None) -> None:
    allowed = dict.fromkeys(_ANY_FIELD if kind is Event else FIELDS[kind.__name__])
    if names is not None and "task_id" in allowed:
        allowed["task"] = None
    allowed["worker"] = None
    if name not in allowed:
        whose = "no event has a field" if kind is Event else f"{kind.__name__} has no field"
        raise UsageError(f"{whose} {name!r}{_did_you_mean(name, allowed)} Fields: {', '.join(allowed)}")


def _task_reader(names: TaskNames) -> Callable[[Event], object]:
    def read(event: Event) -> object:
        task = getattr(event, "task", None)
        if task is not None:
            return task
        task_id = getattr(event, "task_id", _MISSING)
        return names(task_id) if isinstance(task_id, str) else _MISSING if task_id is _MISSING else None

    return read


def _is_predicate(wanted: object) -> bool:
    return callable(wanted) and not isinstance(attribute(wanted, "name"), str)


def _worker_test(wanted: object) -> FieldTest:
    if _is_predicate(wanted) and callable(wanted):
        predicate = wanted
        return lambda event: bool(predicate(getattr(event, "worker", None) or worker_of(event.process)))
    name = process_name(wanted)
    inside = name + "/"
    return lambda event: (
        event.process == name or event.process.startswith(inside) or getattr(event, "worker", None) == name
    )


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    close = nearest(word, words)
    return f"; did you mean {close}?" if close else "."


def _show(wanted: object) -> str:
    if _is_predicate(wanted):
        return getattr(wanted, "__name__", "a function")
    try:
        return identity(wanted)[1]
    except UsageError:
        return repr(wanted)
