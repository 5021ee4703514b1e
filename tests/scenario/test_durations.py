"""Durations: seconds, or a number with a unit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasksim.scenario.node import parse_duration

amounts = st.decimals(0, 10**6, places=3, allow_nan=False, allow_infinity=False)


@given(amounts, st.sampled_from(["ms", "s", "m", "h"]), st.sampled_from(["", " "]))
def test_a_number_with_a_unit_is_that_many_of_it(amount, unit, space):
    seconds = parse_duration(f"{amount}{space}{unit}")
    assert seconds == pytest.approx(float(amount) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit])


@given(st.floats(0, 10**9).filter(lambda seconds: "e" not in repr(seconds)))
def test_seconds_without_a_unit_are_read_to_the_last_bit(seconds):
    assert parse_duration(repr(seconds)) == seconds


@given(st.integers(0, 10**7))
def test_whole_milliseconds_are_the_nearest_float(number):
    assert parse_duration(f"{number}ms") == number / 1000


@given(st.text(max_size=8))
def test_no_text_yields_anything_but_a_finite_duration_or_none(text):
    seconds = parse_duration(text)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "-1s", "1h30m", "1:30", "nan", "inf", "1d", "1 0", "10 seconds", "1_000", "٣", "9" * 400]
)
def test_what_is_no_duration_is_refused(text):
    assert parse_duration(text) is None
