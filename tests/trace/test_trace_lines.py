"""Events as aligned lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasksim.errors import UsageError
from tasksim.events import (
    KINDS,
    Acked,
    Delivered,
    Event,
    Failed,
    Fault,
    Finished,
    ProcessEnded,
    Published,
    Queued,
    Redelivered,
    Started,
    TaskRejected,
    WorkerDown,
    WorkerUp,
)
from tasksim.trace import Trace
from tasksim.trace.lines import seconds, short_ids, short_names, timeline
from tasksim.trace.words import WORDS, one_line, words
from tests.trace.event_strategies import any_event, of_kind

UUID = "a1b2c3d4-0000-4000-8000-000000000001"
LIFE: list[Event] = [
    WorkerUp(-1.5, "w1", "w1"),
    Published(0.0, "client", 1, "", "celery", UUID, "shop.tasks.charge", 0),
    Queued(0.000001, "broker", 1, "celery", UUID),
    Delivered(0.000001, "w1", 1, 1, "celery", UUID, "shop.tasks.charge"),
    Started(12.0, "w1/1", UUID, "shop.tasks.charge", 0),
    Fault(12.25, "world", "kill", "w1/1"),
    ProcessEnded(12.25, "w1/1", None, 9),
    Redelivered(180.0, "w2", 1, 2, "celery", UUID, "shop.tasks.charge", True),
    Acked(180.0, "w2", 1, 2, "celery", UUID),
]


def test_the_timeline_is_aligned_on_the_point_and_in_columns() -> None:
    assert timeline(LIFE).splitlines() == [
        " -1.5       w1      ready",
        "  0         client  published    charge  to celery                [a1b2c3d4]",
        "  0.000001  broker  queued       charge  in celery                [a1b2c3d4]",
        "  0.000001  w1      delivered    charge  from celery, delivery 1  [a1b2c3d4]",
        " 12         w1/1    started      charge  retries 0                [a1b2c3d4]",
        " 12.25      world   FAULT                kill w1/1",
        " 12.25      w1/1    ended                killed by SIGKILL",
        "180         w2      redelivered  charge  from celery, delivery 2  [a1b2c3d4]",
        "180         w2      acked        charge  delivery 2               [a1b2c3d4]",
    ]


def test_a_trace_prints_itself_the_same_way() -> None:
    trace = Trace(LIFE)
    assert trace.text() == timeline(LIFE)
    assert trace.text(last=2, detail=False, width=60) == timeline(LIFE, last=2, detail=False, width=60)


def test_without_detail_queueing_and_connections_are_left_out() -> None:
    assert len(timeline(LIFE, detail=False).splitlines()) == len(LIFE) - 1


def test_kinds_can_be_chosen_and_mean_their_subclasses() -> None:
    chosen = timeline(LIFE, events=["Queued", Delivered], detail=False)
    assert [line.split()[2] for line in chosen.splitlines()] == ["queued", "delivered", "redelivered"]
    assert timeline(LIFE, events="Queued") == timeline(LIFE, events=[Queued])
    with pytest.raises(UsageError, match="did you mean Queued"):
        timeline(LIFE, events=["Queud"])


def test_the_last_lines_say_how_many_came_before() -> None:
    assert timeline(LIFE, last=1).splitlines() == [
        "... 8 earlier events",
        "180  w2  acked  charge  delivery 2  [a1b2c3d4]",
    ]
    assert timeline(LIFE, last=8).startswith("... 1 earlier event\n")
    assert timeline(LIFE, last=9) == timeline(LIFE)
    for wrong in (-1, 2.0):
        with pytest.raises(UsageError, match=f"last={wrong}: give how many"):
            timeline(LIFE, last=wrong)  # type: ignore[arg-type]


def test_a_timeline_of_nothing_says_so() -> None:
    assert timeline([]) == "(no events)"
    assert timeline(LIFE, last=0) == "... 9 earlier events"


def test_details_are_cut_to_the_width_and_ids_are_not() -> None:
    failed = Failed(1.0, "w1/1", UUID, "shop.tasks.charge", "ValueError", "no " * 100)
    (line,) = timeline([failed], width=60).splitlines()
    assert line == "1  w1/1  failed  charge  ValueError: no no no...  [a1b2c3d4]"
    assert len(line) <= 60
    assert timeline([failed], width=10) == "1  w1/1  failed  charge    [a1b2c3d4]"


def test_a_message_without_a_task_goes_by_its_number() -> None:
    assert timeline([Published(0.0, "client", 7, "news", "all")]) == "0  client  published  message 7  to news/all"


def test_a_very_long_task_name_is_cut_in_front() -> None:
    name = "x" * 50 + "_end"
    line = timeline([Finished(1.0, "w1/1", "a", name, "SUCCESS")])
    assert "..." in line
    assert "_end  SUCCESS" in line


def test_two_tasks_of_one_name_keep_their_modules() -> None:
    assert short_names(["shop.tasks.charge", "bank.tasks.charge", "mail"]) == {
        "shop.tasks.charge": "shop.tasks.charge",
        "bank.tasks.charge": "bank.tasks.charge",
        "mail": "mail",
    }
    assert short_names(["shop.a.charge", "shop.b.charge", "shop.a.mail"]) == {
        "shop.a.charge": "a.charge",
        "shop.b.charge": "b.charge",
        "shop.a.mail": "mail",
    }


@given(st.sets(st.text("ab.", min_size=1, max_size=8)))
def test_short_names_are_distinct_ends_of_the_names(names: set[str]) -> None:
    short = short_names(sorted(names))
    assert len(set(short.values())) == len(names)
    assert all(name.endswith(short[name]) for name in names)


def test_ids_given_by_somebody_stay_whole() -> None:
    assert short_ids(["order-1", "order-2024-00017"]) == {id_: id_ for id_ in ("order-1", "order-2024-00017")}


@given(st.sets(st.text("ab", max_size=24)))
def test_short_ids_are_distinct_beginnings_of_the_ids(ids: set[str]) -> None:
    short = short_ids(ids)
    assert len(set(short.values())) == len(ids)
    assert all(id_.startswith(short[id_]) for id_ in ids)


@pytest.mark.parametrize(
    ("time", "text"),
    [(0.0, "0"), (1.5, "1.5"), (180.0, "180"), (0.000001, "0.000001"), (-2.0, "-2"), (-1e-9, "0"), (1 / 3, "0.333333")],
)
def test_times_are_without_noise(time: float, text: str) -> None:
    assert seconds(time) == text


def test_every_kind_has_its_words() -> None:
    assert set(WORDS) == set(KINDS.values())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@given(data=st.data())
@settings(max_examples=15)
def test_an_event_of_any_kind_is_one_printable_line(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(of_kind(kind))
    line = timeline([event])
    assert line.isprintable()
    assert words(event)[0] in line


@given(st.lists(any_event(), max_size=6), st.integers(40, 200))
def test_there_is_one_line_for_each_event(events: list[Event], width: int) -> None:
    assert len(timeline(events, width=width).split("\n")) == max(1, len(events))


def test_nothing_that_a_terminal_would_act_upon_gets_through() -> None:
    assert one_line("a\x1b[31m\n\tb\u202e") == "a?[31m b?"
    assert timeline([TaskRejected(0.0, "w\n1", "\x1b[2J")]).isprintable()
    assert timeline([Finished(0.0, "w1", "\x1b", "\r", "\x07")]).isprintable()


def test_how_a_process_ended_is_said_in_words() -> None:
    def ended(exitcode: int | None, signal: int | None) -> str:
        return words(WorkerDown(0.0, "w1", "w1", exitcode, signal))[1]

    assert [ended(0, None), ended(None, 15), ended(None, 40), ended(None, None)] == [
        "exit code 0",
        "killed by SIGTERM",
        "killed by signal 40",
        "no exit code",
    ]
