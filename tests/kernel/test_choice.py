"""Chance: one seed, many streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasksim.kernel.choice import Choice

seeds = st.integers(min_value=0, max_value=2**63)


@given(seeds, st.lists(st.sampled_from(["order", "random/w1", "reaping"]), max_size=20))
def test_a_draw_more_in_one_stream_does_not_move_the_others(seed: int, others: list[str]) -> None:
    quiet, busy = Choice(seed), Choice(seed)
    alone = [quiet.stream("mine").below(1000) for _ in range(5)]
    among = []
    for _ in range(5):
        for name in others:
            busy.stream(name).bits(7)
        among.append(busy.stream("mine").below(1000))
    assert alone == among


@given(seeds)
def test_streams_of_one_seed_differ(seed: int) -> None:
    choice = Choice(seed)
    assert choice.stream("a").bits(64) != choice.stream("b").bits(64)
    assert choice.derive("a") != choice.derive("b")


def test_a_seed_is_the_same_on_every_machine() -> None:
    stream = Choice(7).stream("order")
    assert Choice(7).derive("order") == 11399659482042091236
    assert [stream.below(100) for _ in range(5)] == [52, 88, 6, 77, 33]


def test_a_chance_of_one_always_comes_and_of_zero_never() -> None:
    stream = Choice(3).stream("x")
    assert all(stream.chance(1.0) for _ in range(100))
    assert not any(stream.chance(0.0) for _ in range(100))
