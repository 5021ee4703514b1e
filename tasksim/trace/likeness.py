"""In what one value differs from what was wanted, down to the part that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["NOTHING", "Difference", "Raised", "differences"]


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


class Raised:
    """Stands for what was wanted where that is a function, and it raised an error."""

    def __init__(self, wanted: Any, error: Exception) -> None:
        self.wanted, self.error = wanted, error


#: Stands where a part is missing.
NOTHING = _Nothing()
#: Where (`[0]['order']`), what is there, what was wanted.
Difference = tuple[str, object, object]


def _equal(wanted: Any, got: Any) -> bool:
    try:
        # What is wanted comes first: `unittest.mock.ANY` and `pytest.approx` compare by their own rules.
        return bool(wanted == got) or bool(wanted != wanted and got != got)
    except Exception:  # an array, say, has no truth
        return False


def _unfit(wanted: Any, got: object) -> Any:
    """What is wanted is a class or a function of the value: None if it fits, else what was wanted."""
    if isinstance(wanted, type):
        return None if isinstance(got, wanted) else wanted
    try:
        return None if wanted(got) else wanted
    except Exception as error:  # it was written for the value that is looked for, and this may be another one
        return Raised(wanted, error)


def differences(
    wanted: Any, got: Any, carried: Callable[[object], object] = lambda value: value, path: str = ""
) -> Iterator[Difference]:
    """The parts in which a value is not as wanted; none if it is.

    Args:
        wanted: values that compare equal; or anything that compares by rules of its own; or functions of the value; or
            classes that it is an instance of. Lists and tuples are the same: most messages do not tell them apart.
        got: the value.
        carried: gives a value as it would arrive.
        path: of the value, for people.

    Returns:
        Where, what is there, and what was wanted: `Raised`, if that is a function which raised an error.
    """
    if _equal(wanted, got):
        return
    if isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        for index in range(max(len(wanted), len(got))):
            here = f"{path}[{index}]"
            if index >= len(got):
                yield here, NOTHING, wanted[index]
            elif index >= len(wanted):
                yield here, got[index], NOTHING
            else:
                yield from differences(wanted[index], got[index], carried, here)
    elif isinstance(wanted, Mapping) and isinstance(got, Mapping):
        yield from _of_mappings(wanted, got, carried, path)
    elif callable(wanted):
        unfit = _unfit(wanted, got)
        if unfit is not None:
            yield path, got, unfit
    elif not _equal(carried(wanted), got):
        yield path, got, wanted


def _of_mappings(
    wanted: Mapping[Any, Any], got: Mapping[Any, Any], carried: Callable[[object], object], path: str
) -> Iterator[Difference]:
    asked: dict[Any, Any] = {}
    for key, value in wanted.items():
        if key not in got:  # JSON makes text of a key
            arrived = carried({key: None})
            key = next(iter(arrived)) if isinstance(arrived, dict) else key
        asked[key] = value
    for key, value in asked.items():
        here = f"{path}[{key!r}]"
        if key in got:
            yield from differences(value, got[key], carried, here)
        else:
            yield here, NOTHING, value
    for key in got:
        if key not in asked:
            yield f"{path}[{key!r}]", got[key], NOTHING
