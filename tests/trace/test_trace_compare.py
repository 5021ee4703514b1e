"""Where two traces part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasksim.events import Event, Finished, Started, WorkerUp
from tasksim.trace import Difference, Trace, first_difference
from tests.trace.event_strategies import any_event

ONE = WorkerUp(0.0, "w1", "w1")
TWO = Started(1.0, "w1/1", "a", "shop.charge", 0)
THREE = Started(1.0, "w1/2", "a", "shop.charge", 1)
FOUR = Finished(3.0, "w1/1", "a", "shop.charge", "SUCCESS")


def test_a_difference_has_its_place_both_events_and_what_came_before() -> None:
    assert first_difference(Trace([ONE, TWO]), Trace([ONE, THREE])) == Difference(1, TWO, THREE, (ONE,))


def test_a_difference_explains_itself() -> None:
    assert str(first_difference([ONE, TWO], [ONE, THREE])).splitlines() == [
        "the traces differ at event 1: Started with process 'w1/1' against 'w1/2', retries 0 against 1",
        "  0  w1    ready",
        "- 1  w1/1  started  charge  retries 0  [a]",
        "+ 1  w1/2  started  charge  retries 1  [a]",
    ]


def test_a_difference_of_kind_names_both() -> None:
    difference = first_difference([TWO], [FOUR])
    assert difference is not None
    assert difference.reason == "Started against Finished"


def test_a_trace_that_ends_early_differs_at_its_end() -> None:
    longer = first_difference([ONE, TWO], [ONE])
    shorter = first_difference([ONE], [ONE, TWO])
    assert longer is not None
    assert shorter is not None
    assert (longer.index, longer.reason) == (1, "the second ends here")
    assert (shorter.index, shorter.reason) == (1, "the first ends here")
    assert str(shorter).splitlines()[-1].startswith("+ ")


def test_only_the_last_three_common_events_are_kept() -> None:
    difference = first_difference([ONE, ONE, TWO, THREE, FOUR], [ONE, ONE, TWO, THREE])
    assert difference is not None
    assert difference.before == (ONE, TWO, THREE)


@given(st.lists(any_event(), max_size=5), st.lists(any_event(), max_size=5))
def test_there_is_a_difference_if_and_only_if_the_events_differ(left: list[Event], right: list[Event]) -> None:
    difference = first_difference(left, right)
    assert (difference is None) == (left == right)
    if difference is not None:
        assert left[: difference.index] == right[: difference.index]
        assert str(difference)
