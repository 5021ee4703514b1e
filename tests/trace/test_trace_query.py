"""What a trace says of one task."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from hypothesis import given

from tasksim.errors import UsageError
from tasksim.events import (
    Acked,
    BeatSent,
    Delivered,
    Event,
    Failed,
    Finished,
    ProcessEnded,
    Published,
    Queued,
    Redelivered,
    Started,
    StateStored,
    TaskUnknown,
    WorkerDown,
)
from tasksim.trace import Attempt, Trace
from tests.trace.event_strategies import runs

CHARGE = "shop.charge"


def started(time: float, process: str, task_id: str = "a", task: str = CHARGE, retries: int = 0) -> Started:
    return Started(time, process, task_id, task, retries)


def finished(time: float, process: str, state: str, task_id: str = "a", task: str = CHARGE) -> Finished:
    return Finished(time, process, task_id, task, state)


class Task:
    name = CHARGE

    def delay(self) -> NoReturn:
        raise NotImplementedError


class Result:
    """Like an AsyncResult: reading its name would ask the result store."""

    id = "a"

    @property
    def name(self) -> NoReturn:
        raise AssertionError("the result store was asked")


LIFE: list[Event] = [
    Queued(0.0, "broker", 1, "celery", "a"),
    Published(0.0, "client", 1, "", "celery", "a", CHARGE, 0),
    Delivered(0.0, "w1", 1, 1, "celery", "a", CHARGE),
    Published(0.5, "client", 2, "", "celery", "b", "shop.mail", 0),
    started(1.0, "w1/1"),
    StateStored(1.0, "w1/1", "a", "STARTED"),
    ProcessEnded(4.0, "w1/1", None, 9),
    Redelivered(10.0, "w2", 1, 2, "celery", "a", CHARGE, True),
    Started(10.0, "w2/1", "a", CHARGE, 0, True, 2),
    StateStored(12.5, "w2/1", "a", "SUCCESS"),
    finished(12.5, "w2/1", "SUCCESS"),
    Acked(12.5, "w2", 1, 2, "celery", "a"),
]


@pytest.mark.parametrize("target", ["a", Result(), CHARGE, Task()], ids=["id", "result", "name", "task"])
def test_a_task_is_found_by_id_result_name_and_task(target: object) -> None:
    found = Trace(LIFE).of(target)
    assert found.events == [LIFE[0], LIFE[1], LIFE[2], LIFE[4], LIFE[5], *LIFE[7:]]


def test_a_task_trace_says_when_where_and_what() -> None:
    found = Trace(LIFE).of("a")
    assert found.starts == [1.0, 10.0]
    assert found.delays == [9.0]
    assert found.states == ["STARTED", "SUCCESS"]
    assert found.state == "SUCCESS"
    assert found.published == [0.0]
    assert found.deliveries == [LIFE[2], LIFE[7]]
    assert found.attempts == [
        Attempt("a", CHARGE, "w1", "w1/1", 1.0, 4.0, "LOST", 0, False, None),
        Attempt("a", CHARGE, "w2", "w2/1", 10.0, 12.5, "SUCCESS", 0, True, 2),
    ]
    assert repr(found) == "<TaskTrace a: 10 events; LOST on w1/1, SUCCESS on w2/1; stored state SUCCESS>"


def test_of_something_that_never_was_is_empty() -> None:
    found = Trace(LIFE).of("shop.never")
    assert (found.events, found.attempts, found.state, found.delays) == ([], [], None, [])
    assert repr(found) == "<TaskTrace shop.never: 0 events; never ran; stored state None>"


def test_of_something_that_is_neither_task_nor_result_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="3 is neither a task, nor the name of one, nor a result"):
        Trace(LIFE).of(3)


def test_a_text_is_an_id_before_it_is_a_name() -> None:
    trace = Trace([started(0.0, "w1/1", "mail", CHARGE), started(1.0, "w1/2", "b", "mail")])
    assert trace.of("mail").starts == [0.0]


def test_of_a_groups_result_gives_all_members() -> None:
    group = SimpleNamespace(id="g", results=[Result(), SimpleNamespace(id="h", results=[SimpleNamespace(id="b")])])
    trace = Trace([started(0.0, "w1/1", "b"), started(1.0, "w1/2", "a"), started(2.0, "w1/2", "c")])
    assert trace.of(group).starts == [0.0, 1.0]
    assert trace.of(group).name == "g"


def test_of_a_task_gives_events_that_have_no_id_too() -> None:
    events: list[Event] = [BeatSent(0.0, "beat", "hourly", CHARGE), TaskUnknown(1.0, "w1", None, CHARGE), *LIFE]
    assert Trace(events).of(CHARGE).events[:2] == events[:2]


def test_of_a_task_leaves_out_another_task_that_was_given_the_same_id() -> None:
    trace = Trace([started(0.0, "w1/1", "a", CHARGE), started(1.0, "w1/2", "a", "shop.mail")])
    assert trace.of(Task()).starts == [0.0]
    assert trace.of("a").starts == [0.0, 1.0]


def test_a_trace_can_be_asked_while_it_grows() -> None:
    trace = Trace()
    for place, event in enumerate(LIFE, start=1):
        trace.record(event)
        assert trace.of("a").attempts == Trace(LIFE[:place]).of("a").attempts


def test_what_was_answered_does_not_change_later() -> None:
    trace = Trace([started(1.0, "w1/1")])
    before = trace.of("a")
    everything = trace.attempts
    trace.record(finished(2.0, "w1/1", "SUCCESS"))
    assert before.attempts == everything
    assert (everything[0].ended, everything[0].state) == (None, None)


def test_an_attempt_that_still_runs_has_no_end_and_no_state() -> None:
    (attempt,) = Trace([started(1.0, "w1/1")]).attempts
    assert (attempt.ended, attempt.state) == (None, None)
    assert "running on w1/1" in repr(Trace([started(1.0, "w1/1")]).of("a"))


def test_a_failure_told_by_the_main_process_does_not_end_an_attempt_but_the_death_of_its_process_does() -> None:
    trace = Trace([started(1.0, "w1/1"), Failed(6.0, "w1", "a", CHARGE, "TimeLimitExceeded", "(5,)")])
    assert trace.attempts[0].ended is None
    trace.record(ProcessEnded(6.1, "w1/1", None, 9))
    assert (trace.attempts[0].ended, trace.attempts[0].state) == (6.1, "LOST")


def test_an_orphan_may_finish_after_its_workers_main_process_died() -> None:
    trace = Trace([started(1.0, "w1/1"), WorkerDown(2.0, "w1", "w1", None, 9), finished(3.0, "w1/1", "SUCCESS")])
    assert (trace.attempts[0].ended, trace.attempts[0].state) == (3.0, "SUCCESS")


def test_what_runs_in_a_main_process_is_lost_with_it() -> None:
    trace = Trace([started(1.0, "w1"), WorkerDown(2.0, "w1", "w1", None, 9)])
    assert (trace.attempts[0].ended, trace.attempts[0].state) == (2.0, "LOST")


def test_a_process_that_ends_after_its_task_loses_nothing() -> None:
    trace = Trace([started(1.0, "w1/1"), finished(2.0, "w1/1", "SUCCESS"), ProcessEnded(3.0, "w1/1", 0, None)])
    assert trace.attempts[0].state == "SUCCESS"


def test_tasks_that_run_at_once_in_one_process_are_told_apart() -> None:
    events = [started(1.0, "w1", "a"), started(2.0, "w1", "b"), finished(3.0, "w1", "RETRY", "b")]
    assert [(a.task_id, a.state) for a in Trace(events).attempts] == [("a", None), ("b", "RETRY")]


def test_an_end_without_a_start_is_nobodys() -> None:
    assert Trace([finished(3.0, "w1", "SUCCESS"), ProcessEnded(4.0, "w1/1", 0, None)]).attempts == []


def test_delays_are_exact_to_the_nanosecond() -> None:
    trace = Trace([started(0.1, "w1/1"), started(0.3, "w1/1")])
    assert trace.of("a").delays == [0.2]


@given(runs())
def test_there_are_as_many_attempts_as_starts_in_the_same_order(events: list[Event]) -> None:
    trace = Trace(events)
    assert trace.starts == [event.time for event in trace.where(Started)]
    assert [attempt.started for attempt in trace.attempts] == trace.starts


@given(runs())
def test_the_attempts_of_all_ids_and_of_all_tasks_are_all_attempts(events: list[Event]) -> None:
    trace = Trace(events)
    wanted = Counter(trace.attempts)
    assert sum((Counter(trace.of(task_id).attempts) for task_id in "abc"), Counter[Any]()) == wanted
    assert sum((Counter(trace.of(f"shop.{name}").attempts) for name in "abc"), Counter[Any]()) == wanted


@given(runs())
def test_an_attempt_ends_after_it_began_or_not_at_all(events: list[Event]) -> None:
    for attempt in Trace(events).attempts:
        assert (attempt.ended is None) == (attempt.state is None)
        assert attempt.ended is None or attempt.ended > attempt.started
