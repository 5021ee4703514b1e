"""What the arguments of a simulation and of its methods have to be; shared by all who take such ones.

A wrong one is told before anything is changed: a fault that fails half-way would leave the world in a state that no
test has asked for.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tasksim.errors import UsageError
from tasksim.events import Event
from tasksim.nearest import nearest
from tasksim.trace.pattern import Pattern, attribute

__all__ = [
    "check_action", "check_concurrency", "check_condition", "check_name", "check_when", "duration", "duration_or_ever",
    "entries", "instant", "is_number", "mapping", "process_names", "unknown_word", "whole",
]  # fmt: skip

#: Names of processes that there are anyway, and in whose name servers act.
_TAKEN = ("client", "broker")


def is_number(value: object) -> bool:
    """A number of any kind that has an order; a truth value is none."""
    return isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, bool)


def said(place: str, value: object) -> str:
    """The argument as it was given: `run(until` and 5 give `run(until=5)`."""
    return f"{place}={value!r}" + (")" if "(" in place else "")


def whole(place: str, value: object, least: int = 1) -> None:
    """Is this a whole number, and no less?

    Raises:
        UsageError: it is something else; `place` says where, `evict(keys=`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{said(place, value)}: give a whole number, {least} or more")


# --- seconds


def _number(place: str, value: Any, remedy: str) -> float:
    if not is_number(value) or math.isnan(value):
        raise UsageError(f"{said(place, value)}: {remedy}")
    return float(value)


def duration(place: str, value: Any) -> float:
    """So many seconds, 0 or more, as a number or a timedelta.

    Raises:
        UsageError: it is something else.
    """
    remedy = "give seconds as a number, 0 or more"
    found = value.total_seconds() if isinstance(value, timedelta) else _number(place, value, remedy)
    if not 0 <= found < math.inf:
        raise UsageError(f"{said(place, value)}: {remedy}")
    return found


def duration_or_ever(place: str, value: Any) -> float | None:
    """The same, or None for ever; infinitely many seconds are that."""
    if value is None or (is_number(value) and value == math.inf):
        return None
    return duration(place, value)


def instant(place: str, value: Any) -> float:
    """A time in seconds since the start.

    Raises:
        UsageError: it is no number, not a finite one, or below 0.
    """
    remedy = "give a number of seconds since the start, which is 0"
    if isinstance(value, (timedelta, datetime)):
        remedy += "; so much later than now is sim.now + timedelta.total_seconds()"
    found = _number(place, value, remedy)
    if math.isinf(found):
        raise UsageError(f"{said(place, value)}: {remedy}; this one would never come")
    if found < 0:
        raise UsageError(f"{said(place, value)}: {remedy}; before it only the workers start")
    return found


# --- what is waited for, and what is done


def _check_function(place: str, function: Any) -> None:
    if inspect.iscoroutinefunction(function):
        raise UsageError(f"{said(place, function)}: a coroutine function only makes a coroutine; give a plain function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one that is written in C
        return
    try:
        signature.bind()
    except TypeError as error:
        raise UsageError(f"{said(place, function)}: it is called without arguments, and that fails: {error}") from error


def check_condition(place: str, condition: Any) -> None:
    """Is this a pattern, or a function to ask?

    Raises:
        UsageError: it is something else, such as a task, whose body would run in the test's own process.
    """
    if isinstance(condition, Pattern):
        return
    if isinstance(condition, type):
        known = issubclass(condition, Event)
        remedy = f"sim.on({condition.__name__})" if known else "a function without arguments"
        raise UsageError(f"{said(place, condition)}: a class is always true; give {remedy}")
    if callable(condition):
        if attribute(condition, "delay") is not None:
            raise UsageError(
                f"{said(place, condition)}: a task would run here, and in the test's own process; to wait for a run of "
                "it, give sim.finished(task)"
            )
        _check_function(place, condition)
        return
    more = "; of a result, result.ready or sim.finished(result)" if attribute(condition, "ready") is not None else ""
    raise UsageError(
        f"{said(place, condition)}: give seconds since the start, a pattern such as sim.started(task), or a function "
        f"without arguments{more}"
    )


def check_action(place: str, function: Any) -> None:
    """Is this a function that can be called without arguments?

    Raises:
        UsageError: it is not.
    """
    if not callable(function):
        raise UsageError(f"{said(place, function)}: give a function without arguments, lambda: task.delay(7)")
    _check_function(place, function)


def check_when(kind: str, when: Any) -> None:
    """Is this a pattern, or None?

    Raises:
        UsageError: it is something else, such as the name of an event.
    """
    if when is None or isinstance(when, Pattern):
        return
    event = when.__name__ if isinstance(when, type) and issubclass(when, Event) else when
    meant = f'sim.on("{event}")' if isinstance(event, str) else 'sim.on("Started") or sim.started(task)'
    raise UsageError(f"{kind}(when={when!r}): give a pattern, {meant}")


# --- names and mappings


def check_name(what: str, name: Any, taken: Collection[str] = ()) -> None:
    """Can a process be called so?

    Args:
        what: of which kind it is, for the message.
        taken: names that belong to others.

    Raises:
        UsageError: it cannot.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f'{what} {name!r}: give its name as text, such as "w1"')
    if "/" in name:
        raise UsageError(f'{what} {name!r}: a name has no "/"; "w1/2" is a pool process of the worker w1')
    if name in (*_TAKEN, *taken):
        raise UsageError(f"{what} {name!r}: that is the name of something else; call it otherwise")


def process_names(what: str, names: Iterable[Any], taken: Collection[str] = ()) -> list[str]:
    """Names of processes that are different from one another.

    Raises:
        UsageError: one cannot be a name, or two are the same.
    """
    found: list[str] = []
    for name in names:
        check_name(what, name, taken)
        if name in found:
            raise UsageError(f"{what} {name!r} is named twice; each needs a name of its own")
        found.append(name)
    return found


def check_concurrency(place: str, value: object) -> None:
    """Is this a number of pool processes, or None?

    Raises:
        UsageError: it is something else.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise UsageError(f"{said(place, value)}: give 1 or more, a whole number, or None for the app's own setting")


def mapping(place: str, value: Any, example: str) -> dict[str, Any]:
    """A mapping with names as keys, as a dictionary; of None an empty one.

    Raises:
        UsageError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"{said(place, value)}: give a mapping of names to values, {example}")
    return dict(value)


def entries(place: str, value: Any, example: str) -> list[str]:
    """Entries as a list that can be read again and again; text is one of them, None is none.

    Raises:
        UsageError: it is something else.
    """
    if value is None:
        return []
    found = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(one, str) and one for one in found):
        raise UsageError(f"{said(place, value)}: give a list of texts, {example}")
    return found


def unknown_word(word: str, known: Collection[str]) -> str:
    """What is said of a word that is none of these: the nearest, and all."""
    close = nearest(word, known)
    return f"{f'did you mean {close!r}? ' if close else ''}There are: {', '.join(known)}"
