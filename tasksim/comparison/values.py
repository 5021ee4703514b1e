"""Values of two halves: copies that keep what they were, and the first place in which two of them differ."""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Mapping
from typing import Any

__all__ = ["difference", "kept", "short"]

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60

#: Of these the values are compared, and not the types only.
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def short(value: object) -> str:
    """A value as text that fits a line."""
    return _repr.repr(value)


def kept(value: Any) -> Any:
    """A deep copy; what cannot be copied is kept itself."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def difference(one: Any, other: Any, where: str) -> str | None:
    """The first place in which two values differ, types included: "a[0] is (1, 2) ... and [1, 2] ..."; None if none.

    Objects of classes of the user's own are equal if their types are.
    """
    if type(one) is not type(other):
        return _said(one, other, where)
    if isinstance(one, Mapping):
        return _of_mappings(one, other, where)
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return _said(one, other, where)
        found = (difference(a, b, f"{where}[{index}]") for index, (a, b) in enumerate(zip(one, other, strict=True)))
        return next((text for text in found if text is not None), None)
    if isinstance(one, (*_PLAIN, set, frozenset)) and one != other and one == one:  # a nan is not equal to itself
        return _said(one, other, where)
    return None


def _of_mappings(one: Mapping[Any, Any], other: Mapping[Any, Any], where: str) -> str | None:
    if sorted(map(repr, one)) != sorted(map(repr, other)):
        return _said(one, other, where)
    for key, value in one.items():
        text = difference(value, other[key], f"{where}[{key!r}]")
        if text is not None:
            return text
    return None


def _said(one: Any, other: Any, where: str) -> str:
    name, other_name = type(one).__name__, type(other).__name__
    if name == other_name:
        return f"{where} is {short(one)} in eager mode and {short(other)} in a worker"
    return f"{where} is the {name} {short(one)} in eager mode and the {other_name} {short(other)} in a worker"
