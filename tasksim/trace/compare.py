"""Where two traces part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from tasksim.events import FIELDS, Event
from tasksim.trace.lines import Names, table

__all__ = ["Difference", "first_difference"]

_BEFORE = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which two traces differ.

    `index` counts from 0; `left` and `right` are the events there, None where a trace has ended; `before` are the last
    events that both have in common. `str()` of it explains.
    """

    index: int
    left: Event | None
    right: Event | None
    before: tuple[Event, ...] = ()

    def __str__(self) -> str:
        marked = [("  ", event) for event in self.before]
        marked += [(mark, event) for mark, event in (("- ", self.left), ("+ ", self.right)) if event is not None]
        events = [event for _, event in marked]
        rows = table(events, Names(events), width=200)
        lines = [f"the traces differ at event {self.index}: {self.reason}"]
        lines += [mark + row for (mark, _), row in zip(marked, rows, strict=True)]
        return "\n".join(lines)

    @property
    def reason(self) -> str:
        """What differs, in words."""
        if self.left is None or self.right is None:
            return f"the {'first' if self.left is None else 'second'} ends here"
        one, other = type(self.left).__name__, type(self.right).__name__
        if one != other:
            return f"{one} against {other}"
        fields = (
            f"{name} {value!r} against {against!r}"
            for name in FIELDS[one]
            if (value := getattr(self.left, name)) != (against := getattr(self.right, name))
        )
        return f"{one} with {', '.join(fields)}"


def first_difference(left: Iterable[Event], right: Iterable[Event]) -> Difference | None:
    """The first place at which two traces differ; None if all their events are equal."""
    before: list[Event] = []
    for index, (one, other) in enumerate(zip_longest(left, right)):
        if one != other:
            return Difference(index, one, other, tuple(before))
        before = [*before, one][-_BEFORE:]
    return None
