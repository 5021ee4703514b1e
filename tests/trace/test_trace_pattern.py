"""Patterns: which event is meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from tasksim.errors import UsageError
from tasksim.events import Acked, Delivered, Event, Fault, Finished, Redelivered, Started, WorkerDown, WorkerUp
from tasksim.trace import Pattern
from tasksim.trace.pattern import identity, worker_of

FIRST = Started(1.0, "w1/1", "a", "shop.charge", 0)
SECOND = Started(2.0, "w1/2", "b", "shop.mail", 1)
FAR = Started(3.0, "w10/1", "c", "shop.mail", 2)


class Charge:
    """Like a Celery task: it can be called, and is no predicate."""

    name = "shop.charge"

    def __call__(self) -> NoReturn:
        raise AssertionError("the task was called")


class Result:
    id = "b"

    @property
    def name(self) -> NoReturn:
        raise AssertionError("the result store was asked")


def fitting(pattern: Pattern) -> list[Event]:
    return [event for event in (FIRST, SECOND, FAR) if pattern.fits(event)]


def test_a_pattern_of_nothing_fits_everything() -> None:
    assert fitting(Pattern()) == [FIRST, SECOND, FAR]
    assert fitting(Pattern(Event)) == fitting(Pattern("Event")) == [FIRST, SECOND, FAR]


def test_a_kind_means_its_subclasses_too() -> None:
    again = Redelivered(2.0, "w2", 1, 2, "celery")
    assert Pattern(Delivered).fits(again)
    assert not Pattern("Redelivered").fits(Delivered(2.0, "w2", 1, 2, "celery"))
    assert not Pattern(Finished).fits(FIRST)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"task": "shop.charge"}, [FIRST]),
        ({"task": "charge"}, []),
        ({"task": Charge()}, [FIRST]),
        ({"task": Result()}, [SECOND]),
        ({"task": lambda task: task.endswith("mail")}, [SECOND, FAR]),
        ({"task_id": Result()}, [SECOND]),
        ({"task_id": "c"}, [FAR]),
        ({"task_id": Charge()}, [FIRST]),
        ({"retries": 1}, [SECOND]),
        ({"retries": lambda retries: retries < 2, "task": "shop.mail"}, [SECOND]),
        ({"delivery": None}, [FIRST, SECOND, FAR]),
        ({"task": None}, []),
        ({"process": "w1/1"}, [FIRST]),
        ({"worker": "w1"}, [FIRST, SECOND]),
        ({"worker": "w1/2"}, [SECOND]),
        ({"worker": SimpleNamespace(name="w10")}, [FAR]),
        ({"worker": lambda worker: worker != "w1"}, [FAR]),
    ],
)
def test_fields_may_be_values_predicates_tasks_results_and_workers(fields: dict[str, Any], wanted: list[Event]) -> None:
    assert fitting(Pattern(Started, fields)) == wanted
    assert fitting(Pattern(None, fields)) == wanted


def test_worker_matches_the_field_of_that_name_too() -> None:
    down = WorkerDown(1.0, "broker", "w1", 0, None)
    assert Pattern(WorkerDown, {"worker": "w1"}).fits(down)
    assert Pattern(WorkerDown, {"worker": lambda worker: worker == "w1"}).fits(down)
    assert not Pattern(WorkerDown, {"worker": "w2"}).fits(down)


def test_a_field_that_an_event_does_not_have_fits_nothing() -> None:
    up = WorkerUp(1.0, "w1", "w1")
    assert not Pattern(None, {"task": None}).fits(up)
    assert not Pattern(None, {"task": lambda _: True}).fits(up)
    assert not Pattern(None, {"task": "t"}, names=lambda _: "t").fits(up)


def test_an_event_may_have_a_field_called_kind() -> None:
    assert Pattern(Fault, {"kind": "kill"}).fits(Fault(1.0, "broker", "kill", "w1"))


def test_only_the_nth_occurrence_matches() -> None:
    armed = Pattern(Started, {"worker": "w1"}, nth=2).arm()
    assert [armed.matches(event) for event in (FAR, FIRST, FAR, SECOND, FIRST)] == [False, False, False, True, False]
    assert armed.seen == 3


def test_a_pattern_counts_from_each_time_it_is_armed() -> None:
    pattern = Pattern(Started, nth=2)
    first = pattern.arm()
    assert not first.matches(FIRST)
    second = pattern.arm()
    assert first.matches(FIRST)
    assert not second.matches(FIRST)
    assert second.matches(FIRST)


@pytest.mark.parametrize("nth", [0, -1, 1.0, True, "1"])
def test_nth_must_be_a_positive_whole_number(nth: Any) -> None:
    with pytest.raises(UsageError, match="counted by whole numbers from 1"):
        Pattern(Started, nth=nth)


def test_an_unknown_event_is_refused_with_a_suggestion_and_the_list() -> None:
    with pytest.raises(UsageError, match=r"no event is called 'started'; did you mean Started\? Events: Published, "):
        Pattern("started")
    with pytest.raises(UsageError, match=r"no event is called 'zzz'\. Events: "):
        Pattern("zzz")


@pytest.mark.parametrize("kind", [3, int, type("Started", (), {})])
def test_what_is_no_event_is_refused(kind: Any) -> None:
    with pytest.raises(UsageError, match=r"is no event; give a class of tasksim\.events"):
        Pattern(kind)


def test_an_unknown_field_is_refused_with_a_suggestion_and_the_list() -> None:
    with pytest.raises(UsageError, match=r"Started has no field 'taks'; did you mean task\? Fields: time, .*, worker$"):
        Pattern(Started, {"taks": "t"})
    with pytest.raises(UsageError, match=r"no event has a field 'zzz'\. Fields: time, "):
        Pattern(None, {"zzz": 1})


def test_a_task_can_be_asked_of_what_carries_an_id_only_if_names_are_known() -> None:
    ack = Acked(1.0, "w1", 1, 1, "celery", "a")
    assert Pattern(Acked, {"task": "t"}, names={"a": "t"}.get).fits(ack)
    assert not Pattern(Acked, {"task": Charge()}, names={"a": "t"}.get).fits(ack)
    assert Pattern(Acked, {"task": lambda name: name == "t"}, names={"a": "t"}.get).fits(ack)
    with pytest.raises(UsageError, match="Acked has no field 'task'; did you mean task_id"):
        Pattern(Acked, {"task": "t"})


@pytest.mark.parametrize("field", ["task", "worker"])
def test_a_value_that_cannot_be_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match="3 is n"):
        Pattern(Started, {field: 3})


def test_identity_tells_tasks_and_results_apart() -> None:
    assert identity("shop.charge") == identity(Charge()) == ("task", "shop.charge")
    assert identity(Result()) == ("task_id", "b")
    with pytest.raises(UsageError, match="is neither a task"):
        identity(lambda: None)


def test_a_process_belongs_to_the_worker_before_the_slash() -> None:
    assert [worker_of(process) for process in ("w1", "w1/12", "client")] == ["w1", "w1", "client"]


def test_a_pattern_reads_as_what_was_asked_for() -> None:
    def late(time: float) -> bool:
        return time > 3

    pattern = Pattern("Started", {"task": Charge(), "time": late, "retries": 2, "worker": "w1"}, nth=2)
    assert repr(pattern) == "<Pattern Started number 2 with task=shop.charge, time=late, retries=2, worker=w1>"
    assert str(Pattern()) == "Event"
