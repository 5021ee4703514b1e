"""Hypothesis strategies for events and traces."""

from __future__ import annotations

from typing import get_args, get_type_hints

from hypothesis import strategies as st

from tasksim.events import FIELDS, KINDS, Event, Finished, ProcessEnded, Started, WorkerDown

_VALUES: dict[type, st.SearchStrategy[object]] = {
    float: st.floats(allow_nan=False, allow_infinity=False),
    int: st.integers(),
    str: st.text(max_size=8),
    bool: st.booleans(),
    type(None): st.none(),
}


def of_kind(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of this class and no subclass of it."""
    hints = get_type_hints(kind)
    types = {field: get_args(hints[field]) or (hints[field],) for field in FIELDS[kind.__name__]}
    return st.builds(kind, **{field: st.one_of([_VALUES[one] for one in allowed]) for field, allowed in types.items()})


def any_event() -> st.SearchStrategy[Event]:
    """Any event of any kind."""
    return st.one_of([of_kind(kind) for kind in KINDS.values()])


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    """Starts, ends and deaths in a few processes, for a few tasks, in time order."""
    events: list[Event] = []
    for time, choice in enumerate(draw(st.lists(st.integers(0, 2), max_size=30))):
        process = draw(st.sampled_from(("w1", "w1/1", "w1/2", "w2/1")))
        task_id = draw(st.sampled_from(("a", "b", "c")))
        if choice == 0:
            events.append(Started(float(time), process, task_id, f"shop.{task_id}", 0))
        elif choice == 1:
            events.append(Finished(float(time), process, task_id, f"shop.{task_id}", "SUCCESS"))
        elif process == "w1":
            events.append(WorkerDown(float(time), process, "w1", None, 9))
        else:
            events.append(ProcessEnded(float(time), process, None, 9))
    return events
