"""Laws of the agenda: what is due when, and who runs next."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tasksim.kernel import agenda as agenda_module
from tasksim.kernel.agenda import Agenda
from tasksim.kernel.choice import Choice

times = st.lists(st.integers(min_value=0, max_value=20), max_size=30)


def make(seed: int = 0) -> Agenda:
    return Agenda(Choice(seed))


def drain(agenda: Agenda) -> Iterator[tuple[int, object]]:
    """What is left, in the order in which the kernel's loop would take it: time and first argument."""
    while True:
        entry = agenda.pop()
        if entry is not None:
            yield agenda.now_ns, entry[3][0]
            continue
        due_ns = agenda.next_due_ns()
        if due_ns is None:
            return
        agenda.advance(due_ns)


def put(agenda: Agenda, dues: list[int]) -> None:
    for number, due_ns in enumerate(dues):
        agenda.at(due_ns, print, number)


@given(times)
def test_with_seed_0_entries_come_by_time_and_then_in_the_order_in_which_they_were_made(dues: list[int]) -> None:
    agenda = make()
    put(agenda, dues)
    expected = sorted((due_ns, number) for number, due_ns in enumerate(dues))
    assert list(drain(agenda)) == expected


@given(times, st.integers(min_value=1, max_value=1000))
def test_any_seed_keeps_to_time_and_loses_nothing(dues: list[int], seed: int) -> None:
    agenda = make(seed)
    put(agenda, dues)
    came = list(drain(agenda))
    assert [due_ns for due_ns, _ in came] == sorted(dues)
    assert sorted(came) == sorted((due_ns, number) for number, due_ns in enumerate(dues))


@given(times, st.integers(min_value=0, max_value=1000))
def test_the_same_seed_gives_the_same_order(dues: list[int], seed: int) -> None:
    orders = []
    for _ in range(2):
        agenda = make(seed)
        put(agenda, dues)
        orders.append(list(drain(agenda)))
    assert orders[0] == orders[1]


def test_other_seeds_find_every_order_of_three() -> None:
    found = set()
    for seed in range(1, 60):
        agenda = make(seed)
        put(agenda, [5, 5, 5])
        found.add(tuple(number for _, number in drain(agenda)))
    assert len(found) == 6


def test_what_is_past_is_due_now_and_the_clock_does_not_go_back() -> None:
    agenda = make()
    agenda.advance(100)
    agenda.at(30, print, "late")
    assert list(drain(agenda)) == [(100, "late")]
    agenda.advance(50)
    assert agenda.now_ns == 100


def test_what_is_urgent_comes_before_every_candidate_whatever_the_seed() -> None:
    for seed in range(4):
        agenda = make(seed)
        for number in range(5):
            agenda.soon(print, number)
        agenda.urgent(print, "first")
        agenda.urgent(print, "second")
        assert [value for _, value in drain(agenda)][:2] == ["first", "second"]


@given(times, st.sets(st.integers(min_value=0, max_value=29)), st.integers(min_value=0, max_value=3))
def test_a_cancelled_entry_never_comes(dues: list[int], cancelled: set[int], seed: int) -> None:
    agenda = make(seed)
    entries = [agenda.at(due_ns, print, number) for number, due_ns in enumerate(dues)]
    for number in cancelled:
        if number < len(entries):
            agenda.cancel(entries[number])
            agenda.cancel(entries[number])  # twice is no error
    came = {number for _, number in drain(agenda)}
    assert came == set(range(len(dues))) - cancelled


def test_cancelled_entries_do_not_pile_up_and_the_rest_keeps_its_order() -> None:
    agenda = make()
    kept = [agenda.at(10_000 + number, print, number) for number in range(100)]
    for _ in range(10):
        for entry in [agenda.at(5_000 + number, print, "gone") for number in range(1000)]:
            agenda.cancel(entry)
    assert len(agenda._heap) < agenda_module._COMPACT * 2 + len(kept)
    assert [value for _, value in drain(agenda)] == list(range(100))


def test_the_next_time_is_that_of_a_living_entry() -> None:
    agenda = make()
    first = agenda.at(10, print, 1)
    agenda.at(20, print, 2)
    agenda.cancel(first)
    assert agenda.next_due_ns() == 20


def test_a_look_at_the_clock_is_free_until_somebody_looks_too_often_in_one_step() -> None:
    agenda = make()
    for _ in range(agenda_module.FREE_LOOKS):
        assert agenda.look() == 0
    assert agenda.look() == agenda_module.LOOK_NS
    agenda.pop()
    assert agenda.look() == agenda_module.LOOK_NS


def test_where_no_look_is_free_each_takes_a_tick() -> None:
    agenda = Agenda(Choice(0))
    agenda.free_looks = 0
    assert [agenda.look(), agenda.look()] == [agenda_module.TICK_NS, 2 * agenda_module.TICK_NS]
    agenda.pop()
    assert agenda.look() == 3 * agenda_module.TICK_NS
