"""What is wanted of a message that was published, and in what another one differs from it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

from tasksim.driving.arguments import is_number
from tasksim.errors import UsageError
from tasksim.trace.likeness import Difference, Raised, differences
from tasksim.worker.publications import Publication

__all__ = ["Wanted"]

#: What is said of one message: so many parts that differ, each of so many characters.
_PARTS, _WIDTH = 4, 80


class _Unasked:
    def __repr__(self) -> str:
        return "UNASKED"


#: The default of each condition: None means something ("no ETA").
UNASKED: Any = _Unasked()


def short(value: object, width: int = _WIDTH) -> str:
    """A value as text, cut if it is long; a function by its name."""
    if isinstance(value, Raised):
        return f"{short(value.wanted, width)}, which raised {short(value.error, width)}"
    text = getattr(value, "__name__", None) if callable(value) else None
    try:
        text = text or repr(value)
    except Exception as error:  # the user's own
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _refuse(name: str, value: object, remedy: str) -> UsageError:
    return UsageError(f"{name}={short(value)}: {remedy}")


def _seconds(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if is_number(value) else value  # a Decimal is not to be subtracted from a float


def _check(conditions: Mapping[str, Any]) -> None:
    """Are these what they have to be?

    Raises:
        UsageError: one is not.
    """
    plain = (str, bytes, numbers.Number, type(None), bool, set, frozenset, Iterator)
    several = (list, tuple, set, frozenset, Mapping, Iterator)
    for name, value in conditions.items():
        if name == "args" and isinstance(value, (*plain, Mapping)):
            raise _refuse(name, value, "give the positional arguments as a tuple, args=(7,), or args=() for none")
        if name == "kwargs" and isinstance(value, (*plain, list, tuple)):
            raise _refuse(name, value, 'give the keyword arguments as a mapping, kwargs={"order": 7}, or {} for none')
        if name == "headers" and not isinstance(value, Mapping):
            raise _refuse(name, value, 'give a mapping of those that matter, headers={"tenant": "a"}')
        if name in ("eta", "expires") and (isinstance(value, (str, bytes, bool, *several)) or _no_moment(value)):
            raise _refuse(name, value, "give a datetime, seconds (see the API page), or None for none")
        if name == "countdown" and (isinstance(value, (str, bytes, bool, date, *several)) or _no_moment(value)):
            raise _refuse(name, value, "give seconds, a timedelta, or None for none; a moment is an eta=")
        if name in ("queue", "exchange", "routing_key", "by"):
            _check_one_name(name, value, (bytes, numbers.Number, *several))
        if name in ("priority", "retries") and isinstance(value, (str, bytes, bool, float, type(None), *several)):
            raise _refuse(name, value, "give a whole number; a message without one has 0")


def _no_moment(value: object) -> bool:
    """A day, a time of day, or no number at all."""
    day = isinstance(value, date) and not isinstance(value, datetime)
    return day or isinstance(value, (time, complex)) or (is_number(value) and value != value)


def _same_object_only(value: object) -> bool:
    compares: object = type(value).__eq__
    return compares is object.__eq__


def _check_one_name(name: str, value: Any, never: tuple[type, ...]) -> None:
    if isinstance(value, never):
        raise _refuse(name, value, "give a name; for one of several a function, lambda name: name in (...)")
    if value is None and name != "queue":
        raise _refuse(name, value, "give a name; every message has one" + (', "" at least' if name != "by" else ""))
    named = name in ("queue", "exchange") and isinstance(getattr(value, "name", None), str)
    if not named and not callable(value) and value is not None and _same_object_only(value):
        raise _refuse(name, value, "give a name; nothing is equal to such an object")


class Wanted:
    """Conditions on a message.

    Args:
        task: the task's name, and `task_id`, the call's id: None for any.
        tolerance: seconds by which times may differ.
        conditions: by name, those that were given; see the API page.

    Raises:
        UsageError: one that makes no sense.
    """

    def __init__(self, task: str | None, task_id: str | None, tolerance: float, conditions: Mapping[str, Any]) -> None:
        if not is_number(tolerance) or not tolerance >= 0:
            raise _refuse("tolerance", tolerance, "give seconds, 0 or more")
        self.task, self.task_id, self._tolerance = task, task_id, float(tolerance)
        self.conditions = {name: value for name, value in conditions.items() if value is not UNASKED}
        _check(self.conditions)
        self._errors: list[Raised] = []

    def __str__(self) -> str:
        what = self.task or (f"the call {self.task_id}" if self.task_id else "a task")
        asked = [f"{name}={short(value)}" for name, value in self.conditions.items()]
        return f"{what} with {', '.join(asked)}" if asked else what

    def is_named(self, task: str | None, task_id: str | None) -> bool:
        """Is it this task, or this call?"""
        return (self.task is None or task == self.task) and (self.task_id is None or task_id == self.task_id)

    def never_answered(self, published: list[Publication]) -> str | None:
        """Of a function among the conditions that could not say of any message whether it fits: what it raised."""
        asked = [one for one in published if self.is_named(one.task, one.id)]
        for name, value in self.conditions.items():
            raised = [self._raised(name, value, one) for one in asked]
            mistakes = [found for found in raised if isinstance(found, Raised) and isinstance(found.error, NameError)]
            told = mistakes[0] if mistakes else raised[0] if raised and all(raised) else None
            if told is not None:
                return f"{name}: {short(told)}"
        return None

    def _raised(self, name: str, value: Any, one: Publication) -> Raised | None:
        self._errors.clear()
        for _ in self._apart(name, value, one):
            pass
        return self._errors[0] if self._errors else None

    def _differences(self, *values: Any) -> Iterator[Difference]:
        for where, there, asked in differences(*values):
            # Where nothing is (no ETA), a function of what would be there need not have an answer.
            if isinstance(asked, Raised) and (there is not None or isinstance(asked.error, NameError)):
                self._errors.append(asked)
            yield where, there, asked

    def fits(self, one: Publication) -> bool:
        """Is it one that was wanted?"""
        return self.is_named(one.task, one.id) and all(
            next(self._apart(name, value, one), None) is None for name, value in self.conditions.items()
        )

    def apart(self, one: Publication) -> list[str]:
        """In what it is another one, each as a line; empty if it fits."""
        lines = []
        if self.task is not None and one.task != self.task:
            lines.append(f"task: {one.task}, wanted {self.task}")
        if self.task_id is not None and one.id != self.task_id:
            lines.append(f"id: {one.id}, wanted {self.task_id}")
        for name, value in self.conditions.items():
            found = list(self._apart(name, value, one))
            lines += found[:_PARTS]
            if len(found) > _PARTS:
                lines.append(f"{name}: and {len(found) - _PARTS} more differences")
        return lines

    def _apart(self, name: str, wanted: Any, one: Publication) -> Iterator[str]:
        if name in ("args", "kwargs"):
            got = getattr(one, name)
            if one.error is not None:
                yield f"{name}: the body cannot be read ({one.error}), wanted {short(wanted)}"
                return
            yield from self._parts(name, wanted, got, one.carried)
        elif name == "headers":
            headers = {key: one.headers[key] for key in wanted if key in one.headers}
            yield from self._parts(name, wanted, headers, one.carried)
        elif name == "queue":
            yield from self._of_queue(wanted, one)
        elif name in ("eta", "countdown", "expires"):
            yield from self._of_time(name, wanted, one)
        else:
            wanted = getattr(wanted, "name", wanted) if name == "exchange" else wanted
            yield from self._parts(name, wanted, one.process if name == "by" else getattr(one, name))

    def _parts(
        self, name: str, wanted: Any, got: object, carried: Callable[[object], object] = lambda value: value
    ) -> Iterator[str]:
        for path, there, asked in self._differences(wanted, got, carried):
            yield f"{name}{path}: {short(there)}, wanted {short(asked)}"

    def _of_queue(self, wanted: Any, one: Publication) -> Iterator[str]:
        if isinstance(getattr(wanted, "name", None), str):
            wanted = wanted.name  # kombu's Queue
        if all(next(self._differences(wanted, queue), None) for queue in one.queues or (None,)):
            yield f"queue: {', '.join(map(repr, one.queues)) or 'none'}, wanted {short(wanted)}"

    def _of_time(self, name: str, wanted: Any, one: Publication) -> Iterator[str]:
        """Times compare with a tolerance; a countdown and an expiry in seconds count from publishing."""
        wanted = _seconds(wanted)
        moment = one.expires if name == "expires" else one.eta
        got: Any = moment
        if name == "countdown":
            got = one.countdown
        elif is_number(wanted):
            got = one.expires_in if name == "expires" else one.due(moment)
        if isinstance(wanted, datetime):
            aware = wanted if wanted.tzinfo is not None else wanted.replace(tzinfo=UTC)  # as Celery reads it
            near = got is not None and abs((got - aware).total_seconds()) <= self._tolerance
        elif is_number(wanted):
            near = abs(got - wanted) <= self._tolerance if got is not None else name == "countdown" and wanted == 0
        else:
            near = next(self._differences(wanted, got), None) is None
        if not near:
            unit = partial("{:g} s".format) if is_number(got) else str
            asked = f"{wanted:g} s" if is_number(wanted) else short(wanted)
            asked = str(wanted) if isinstance(wanted, datetime) else asked
            yield f"{name}: {'none' if got is None else unit(got)}, wanted {asked}"
