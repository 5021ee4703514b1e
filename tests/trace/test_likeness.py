"""In what a value differs from what was wanted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasksim.trace.likeness import NOTHING, Raised, differences

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("wanted", "got", "found"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [("['a'][1]['b']", 3, 2)]),
        ([1, 2], [1], [("[1]", NOTHING, 2)]),
        ((1,), [1, 2], [("[1]", 2, NOTHING)]),
        ({"a": 1}, {"b": 1}, [("['a']", NOTHING, 1), ("['b']", 1, NOTHING)]),
        ([1], "1", [("", "1", [1])]),
        (str, 7, [("", 7, str)]),
    ],
)
def test_the_part_that_differs_is_named(wanted: Any, got: Any, found: list[Any]) -> None:
    assert list(differences(wanted, got)) == found


def test_what_has_no_truth_or_raises_is_no_match() -> None:
    class Array:
        def __eq__(self, other: object) -> Any:
            raise ValueError("the truth of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment]

    def asks(value: Any) -> bool:
        return bool(value["order"] == 7)

    assert len(list(differences(Array(), 1))) == 1
    ((path, there, raised),) = differences(asks, {})
    assert (path, there) == ("", {})
    assert isinstance(raised, Raised)
    assert (raised.wanted, repr(raised.error)) == (asks, "KeyError('order')")
    assert list(differences(asks, {"order": 7})) == []


@given(values)
def test_a_value_is_like_itself_and_tuples_are_like_lists(value: Any) -> None:
    def tuples(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: tuples(part) for key, part in one.items()}
        return tuple(map(tuples, one)) if isinstance(one, list) else one

    assert list(differences(value, value)) == []
    assert list(differences(tuples(value), value)) == []


@given(values, values)
def test_what_differs_is_told(one: Any, other: Any) -> None:
    assert (list(differences(one, other)) == []) == (list(differences(other, one)) == [])
