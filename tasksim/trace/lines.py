"""Events as aligned lines of text: time, process, what happened, to which task, details, id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasksim.errors import UsageError
from tasksim.events import Event
from tasksim.trace.pattern import event_kind
from tasksim.trace.words import MINOR, one_line, seconds, words

__all__ = ["Names", "seconds", "short_ids", "short_names", "table", "timeline"]

#: Ids up to this length were given by somebody, and are shown whole.
_SHORT_ID = 16
_PREFIX = 8
_TASK_WIDTH = 36
_GAP = "  "

#: Columns of a row: time before the point, from the point on, process, word, subject, rest, id.
_SUBJECT, _REST = 4, 5


def timeline(
    trace: Sequence[Event],
    *,
    width: int = 100,
    events: Iterable[type[Event] | str] | None = None,
    last: int | None = None,
    detail: bool = True,
) -> str:
    """What happened, one event on each line, in order.

    Args:
        trace: a trace, or any sequence of events.
        width: longest line, in letters; details are cut to fit, nothing else is.
        events: show these kinds only (classes or names, subclasses are meant too); default all.
        last: show this many of the last events only.
        detail: whether to show connections, stored states, hooks and queueing too; those asked for by `events` are
            shown in any case.

    Raises:
        UsageError: no such event, or `last` is no whole number, or negative.
    """
    if last is not None and (not isinstance(last, int) or last < 0):
        raise UsageError(f"last={last!r}: give how many of the last events to show, a whole number")
    shown: list[Event] = list(trace)
    if events is not None:
        kinds = tuple(event_kind(kind) for kind in ((events,) if isinstance(events, str | type) else events))
        shown = [event for event in shown if isinstance(event, kinds)]
    elif not detail:
        shown = [event for event in shown if not isinstance(event, MINOR)]
    hidden = 0 if last is None else max(0, len(shown) - last)
    rows = table(shown[hidden:], Names(trace), width)
    if hidden:
        rows.insert(0, f"... {hidden} earlier event{'s' if hidden > 1 else ''}")
    return "\n".join(rows) if rows else "(no events)"


class Names:
    """Short forms for the tasks and ids of a trace.

    Args:
        events: all events of the trace, those that are not shown too.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._task_of_id: dict[str, str] = {}
        tasks: dict[str, None] = {}
        ids: dict[str, None] = {}
        for event in events:
            task, task_id = getattr(event, "task", None), getattr(event, "task_id", None)
            if task is not None:
                tasks[task] = None
                if task_id is not None:
                    self._task_of_id.setdefault(task_id, task)
            if task_id is not None:
                ids[task_id] = None
        self._short_tasks = short_names(tasks)
        self._short_ids = short_ids(ids)

    def subject(self, event: Event) -> str:
        """What the event is about: a task, or else a message, or else nothing."""
        task = getattr(event, "task", None) or self._task_of_id.get(getattr(event, "task_id", None) or "")
        if task:
            return self._short_tasks.get(task, task)
        message = getattr(event, "message", None)
        return "" if message is None else f"message {message}"

    def task_id(self, event: Event) -> str:
        """The short form of its id; empty if it has none."""
        task_id = getattr(event, "task_id", None)
        return self._short_ids.get(task_id, task_id) if task_id else ""


def table(events: Sequence[Event], names: Names, width: int) -> list[str]:
    """A line for each event, in aligned columns, none longer than `width` if that is possible at all."""
    rows = [_row(event, names) for event in events]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if not widths:
        return []
    widths[_SUBJECT] = min(widths[_SUBJECT], _TASK_WIDTH)
    others = sum(widths) - widths[_REST] + len(_GAP) * (len(widths) - 2)  # no gap within the time
    widths[_REST] = max(0, min(widths[_REST], width - others))
    return [_line(row, widths) for row in rows]


def _row(event: Event, names: Names) -> tuple[str, ...]:
    word, rest = words(event)
    whole, point, part = seconds(event.time).partition(".")
    task_id = names.task_id(event)
    texts = (event.process, word, names.subject(event), rest, f"[{task_id}]" if task_id else "")
    return whole, point + part, *map(one_line, texts)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    time = row[0].rjust(widths[0]) + row[1].ljust(widths[1])
    cut = [
        *row[2:_SUBJECT],
        _cut_front(row[_SUBJECT], widths[_SUBJECT]),
        _cut(row[_REST], widths[_REST]),
        *row[_REST + 1 :],
    ]
    padded = (text.ljust(wide) for text, wide in zip(cut, widths[2:], strict=True))
    return _GAP.join((time, *padded)).rstrip()


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each dotted name the fewest last parts that no other name of these ends in."""
    names = list(names)
    owners: dict[str, int] = {}
    for name in names:
        for tail in _tails(name):
            owners[tail] = owners.get(tail, 0) + 1
    return {name: next((tail for tail in _tails(name) if owners[tail] == 1), name) for name in names}


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """For each id a prefix that no other id of these begins with: eight letters or more; a short id stays whole."""
    ordered = sorted(set(ids))
    found = {}
    for place, task_id in enumerate(ordered):
        neighbours = ordered[max(0, place - 1) : place] + ordered[place + 1 : place + 2]
        shared = max((_shared(task_id, other) for other in neighbours), default=0)
        found[task_id] = task_id if len(task_id) <= _SHORT_ID else task_id[: max(_PREFIX, shared + 1)]
    return found


def _tails(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]


def _shared(one: str, other: str) -> int:
    length = min(len(one), len(other))
    return next((place for place in range(length) if one[place] != other[place]), length)


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    return text[: width - 3] + "..." if width > 3 else ""


def _cut_front(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[len(text) - width + 3 :]
