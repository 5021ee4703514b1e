"""A trace as data frames of pandas: one row for each event, or for each attempt.

pandas comes with the extra `notebook`. The type of a column follows from the type of its field and not from what a run
happened to put there, so frames of different runs can be put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from tasksim.errors import UsageError
from tasksim.events import FIELDS, KINDS, Event
from tasksim.trace.query import Attempt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["attempts_frame", "events_frame"]

#: The pandas type for each type of a field; text is whatever this release of pandas makes of it.
_DTYPES = {float: "float64", int: "Int64", bool: "boolean"}


def events_frame(events: Iterable[Event], kinds: Sequence[str]) -> pd.DataFrame:
    """One row for each event: `time`, `event` (its kind), `process`, then the fields of these kinds.

    Args:
        events: the rows, in this order.
        kinds: names of the kinds whose fields are columns; no other kind may occur in `events`.

    Raises:
        UsageError: pandas is not installed.
    """
    columns = list(dict.fromkeys(name for kind in kinds for name in FIELDS[kind] if name not in ("time", "process")))
    types = {name: found for kind in kinds for name, found in _types(KINDS[kind]).items()}
    names = ["time", "event", "process", *columns]
    rows = [
        (event.time, type(event).__name__, event.process, *(getattr(event, name, None) for name in columns))
        for event in events
    ]
    return _frame(names, rows, {**types, "time": float})


def attempts_frame(attempts: Iterable[Attempt]) -> pd.DataFrame:
    """One row for each attempt; the columns are the fields of `Attempt`.

    Raises:
        UsageError: pandas is not installed.
    """
    names = [field.name for field in fields(Attempt)]
    return _frame(names, [tuple(getattr(one, name) for name in names) for one in attempts], _types(Attempt))


def _types(kind: type) -> dict[str, type]:
    """The type of each field that is a number or a truth value, whether or not it may be None as well."""
    hints = {name: set(get_args(hint)) - {type(None)} or {hint} for name, hint in get_type_hints(kind).items()}
    return {name: next(iter(types)) for name, types in hints.items() if len(types) == 1 and types <= set(_DTYPES)}


def _frame(names: list[str], rows: list[tuple[Any, ...]], types: dict[str, type]) -> pd.DataFrame:
    try:
        import pandas
    except ImportError as problem:
        raise UsageError(
            f"data frames need pandas, which cannot be imported ({problem}): pip install 'tasksim[notebook]'"
        ) from problem
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    made = {
        name: pandas.Series(list(values), dtype=_DTYPES[types[name]] if name in types else None if rows else "object")
        for name, values in zip(names, columns, strict=True)
    }
    return pandas.DataFrame(made, columns=pandas.Index(names))
