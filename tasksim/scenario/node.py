"""A value of a scenario file together with the place where it stands, and the readers of single values.

A reader takes a node and returns what it stands for, or fails with a `ScenarioError` that names file and line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from tasksim.errors import ScenarioError
from tasksim.nearest import nearest

__all__ = [
    "Node",
    "Reader",
    "data",
    "did_you_mean",
    "duration",
    "flag",
    "instant",
    "is_dotted",
    "items",
    "listing",
    "mapping",
    "one_of",
    "parse_duration",
    "record",
    "text",
    "version_text",
    "whole",
]

Reader = Callable[["Node"], Any]

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?", re.ASCII)
_VERSION = re.compile(r"\d+(\.\d+)+", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a file.

    Args:
        value: a scalar, a list of nodes, or a dictionary of nodes.
        line: where it stands; for the value of a key, where the key stands.
        file: path of the file, as the user gave it.
        name: what messages call it.
        source: a scalar as it was written.
    """

    value: Any
    line: int
    file: str
    name: str
    source: str = ""

    def fail(self, message: str) -> NoReturn:
        """Raise the error for this place."""
        raise ScenarioError(message, self.file, self.line)

    def fail_type(self, wanted: str) -> NoReturn:
        """Raise the error for a value of the wrong kind."""
        self.fail(f"{self.name} must be {wanted}, not {self.shown()}")

    def shown(self) -> str:
        """The value as a message shows it."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if self.value is None:
            return "nothing"
        return f'"{self.source}"' if isinstance(self.value, str) else self.source


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, else all of them."""
    names = sorted(known)
    near = nearest(word, names)
    return f"; did you mean `{near}`?" if near else f"; there are: {', '.join(names)}"


def parse_duration(source: str) -> float | None:
    """Seconds of a text such as `1.5`, `250ms`, `10s`, `5m` or `1h`; None if it is no duration."""
    match = _DURATION.fullmatch(source.strip())
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    seconds = number / 1000 if unit == "ms" else number * _SECONDS.get(unit or "s", 1)
    return seconds if math.isfinite(seconds) else None


def is_dotted(name: str) -> bool:
    """Whether this is a name with a module before it: `package.module.attribute`, no part empty."""
    return "." in name and all(name.split("."))


# --- readers of scalars


def text(node: Node) -> str:
    """Text that is not empty."""
    if not isinstance(node.value, str):
        hint = "" if isinstance(node.value, dict | list) or node.value is None else f'; write "{node.source}" in quotes'
        node.fail(f"{node.name} must be text, not {node.shown()}{hint}")
    if not node.value.strip():
        node.fail(f"{node.name} is empty")
    return node.value


def version_text(example: str) -> Reader:
    """A version of at least two numbers, as text or as YAML's number: `4.1`."""

    def read(node: Node) -> str:
        written = isinstance(node.value, str | int | float) and not isinstance(node.value, bool)
        if not written or not _VERSION.fullmatch(node.source):
            hint = f'; write both numbers, such as "{node.source}.0"' if node.source.isdigit() else ""
            node.fail(f'{node.name} must be a version such as "{example}", not {node.shown()}{hint}')
        return node.source

    return read


def whole(minimum: int | None = 0) -> Reader:
    """A whole number that is not below `minimum`."""

    def read(node: Node) -> int:
        if isinstance(node.value, bool) or not isinstance(node.value, int):
            node.fail_type("a whole number")
        if minimum is not None and node.value < minimum:
            node.fail(f"{node.name} must be {minimum} or more, not {node.value}")
        return node.value

    return read


def flag(node: Node) -> bool:
    """True or false."""
    if not isinstance(node.value, bool):
        node.fail_type("true or false")
    return node.value


def duration(node: Node) -> float:
    """A duration in seconds."""
    seconds = None if isinstance(node.value, dict | list) else parse_duration(node.source)
    if seconds is None:
        node.fail_type("a duration (seconds, or a number with a unit: 250ms, 10s, 5m, 1h)")
    return seconds


def instant(node: Node) -> datetime:
    """A moment with its time zone."""
    try:
        moment = datetime.fromisoformat(node.source)
    except ValueError:
        node.fail_type("an ISO 8601 instant such as 2026-01-01T12:00:00Z")
    if moment.tzinfo is None:
        node.fail(f"{node.name} needs a time zone: {moment.isoformat()}Z for UTC, or +02:00 at the end")
    return moment


def one_of(*words: str) -> Reader:
    """One of these words."""

    def read(node: Node) -> str:
        word = text(node)
        if word not in words:
            node.fail(f"{node.name} cannot be `{word}`{did_you_mean(word, words)}")
        return word

    return read


# --- readers of what is made of others


def data(node: Node) -> Any:
    """Anything, as plain Python data."""
    if isinstance(node.value, dict):
        return {key: data(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [data(value) for value in node.value]
    return node.value


def items(node: Node) -> Sequence[Node]:
    """The items of a list."""
    if not isinstance(node.value, list):
        node.fail_type("a list")
    return node.value


def listing(reader: Reader) -> Reader:
    """A list whose items are read by `reader`, as a tuple."""
    return lambda node: tuple(reader(item) for item in items(node))


def mapping(node: Node) -> dict[str, Any]:
    """A mapping of names to anything."""
    if not isinstance(node.value, dict):
        node.fail_type("a mapping")
    for key, value in node.value.items():
        if not isinstance(key, str):
            value.fail(f"the keys of {node.name} must be text, not {key!r}")
    return {key: data(value) for key, value in node.value.items()}


def record(node: Node, readers: Mapping[str, Reader], required: Sequence[str] = ()) -> dict[str, Any]:
    """A mapping with these keys and no others; what was left out is left out of the answer."""
    if not isinstance(node.value, dict):
        node.fail_type(f"a mapping with {', '.join(f'`{key}`' for key in required or readers)}")
    unknown = {key: value for key, value in node.value.items() if key not in readers}
    if unknown:
        told = [f"unknown key `{key}` in {node.name}{did_you_mean(key, readers)}" for key in unknown]
        first, *others = unknown.values()
        more = (f"\n{other.file}:{other.line}: {said}" for other, said in zip(others, told[1:], strict=True))
        first.fail("".join([told[0], *more]))
    for key in required:
        if key not in node.value:
            node.fail(f"{node.name} needs `{key}`")
    return {key: readers[key](value) for key, value in node.value.items()}
