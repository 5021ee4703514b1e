"""Traces as text: JSON lines, a header first, then one line for each event.

The header is an object with "tasksim", the version of the event vocabulary, and whatever the writer wished to say; an
event is an object with "event", the name of its kind, and its fields. All of it is ASCII.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from os import PathLike, fspath
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from tasksim.errors import TraceError, UsageError
from tasksim.events import FIELDS, KINDS, SCHEMA_VERSION, Event

__all__ = ["event_line", "read", "write"]

T = TypeVar("T")

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def event_line(event: Event) -> str:
    """The event as one line of JSON, without the newline; equal events give equal lines.

    Raises:
        ValueError: a number of it is infinite or not a number.
    """
    name = type(event).__name__
    return _encode({"event": name, **_plain(event, name)})


def write(path: str | PathLike[str], events: Iterable[Event], metadata: Mapping[str, object]) -> None:
    """Write a trace file, in place of what is there.

    Args:
        path: where.
        events: in order.
        metadata: what the header says besides the version; what JSON can hold.

    Raises:
        UsageError: the metadata cannot be written.
    """
    if "tasksim" in metadata:
        raise UsageError("metadata of a trace cannot have the key 'tasksim': it holds the version")
    try:
        header = _encode({"tasksim": SCHEMA_VERSION, **metadata})
    except (TypeError, ValueError) as problem:
        raise UsageError(f"metadata of a trace must be what JSON can hold: {problem}") from problem
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write(header + "\n")
        file.writelines(event_line(event) + "\n" for event in events)


def read(path: str | PathLike[str]) -> tuple[dict[str, object], list[Event]]:
    """Read a trace file: what its header says besides the version, and the events.

    Raises:
        TraceError: it cannot be read; the message names the file, the line and the reason.
    """
    where = fspath(path)
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as problem:
        raise TraceError(f"{where}: {problem.strerror or problem}") from problem
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise TraceError(f"{where}:1: the file is empty; a trace begins with a header")
    metadata = _parsed(where, *numbered[0], _header)
    return metadata, [_parsed(where, number, line, _event) for number, line in numbered[1:]]


class _BadLineError(Exception):
    """What is wrong with a line."""


def _plain(event: Event, name: str) -> dict[str, object]:
    values = dict(zip(FIELDS[name], _values[name](event), strict=True))
    for field in _floats[name]:
        values[field] = float(values[field]) + 0.0  # 3 and 3.0 are equal, 0.0 and -0.0 too
    return values


def _parsed(where: str, number: int, line: bytes, convert: Callable[[dict[str, Any]], T]) -> T:
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
        if not isinstance(found, dict):
            raise _BadLineError("a line must be a JSON object")
        return convert(found)
    except (_BadLineError, ValueError, RecursionError) as problem:
        raise TraceError(f"{where}:{number}: {problem}") from problem


def _no_constant(word: str) -> NoReturn:
    raise _BadLineError(f"{word} is not a number of JSON")


def _header(found: dict[str, Any]) -> dict[str, object]:
    version = found.pop("tasksim", None)
    if not isinstance(version, int) or isinstance(version, bool):
        raise _BadLineError('not a trace: its first line must be a header such as {"tasksim": 1}')
    if version != SCHEMA_VERSION:
        raise _BadLineError(f"the trace has version {version}, and this tasksim reads version {SCHEMA_VERSION}")
    return found


def _event(found: dict[str, Any]) -> Event:
    name = found.pop("event", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _BadLineError(f"no event is called {name!r}" if name is not None else 'the key "event" is missing')
    for field, value in found.items():
        if field not in FIELDS[kind.__name__]:
            raise _BadLineError(f"{name} has no field {field!r}")
        found[field] = _checked(kind.__name__, field, value)
    try:
        return kind(**found)
    except TypeError:
        missing = next(field for field in FIELDS[kind.__name__] if field not in found)
        raise _BadLineError(f"{name} needs the field {missing!r}") from None


def _checked(name: str, field: str, value: Any) -> object:
    allowed = _types[name][field]
    if float in allowed and type(value) is int:  # other writers of JSON leave the point away
        value = float(value)
    if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)):
        words = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
        raise _BadLineError(f"field {field!r} of {name} must be {words}, not {value!r}")
    return value


_types = {
    name: {field: get_args(hint) or (hint,) for field, hint in get_type_hints(kind).items()}
    for name, kind in KINDS.items()
}
_values = {name: attrgetter(*names) for name, names in FIELDS.items()}
_floats = {name: tuple(field for field in FIELDS[name] if _types[name][field] == (float,)) for name in KINDS}
