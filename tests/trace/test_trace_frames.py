"""A trace as data frames."""

from __future__ import annotations

import sys

import pandas
import pytest

from tasksim import Trace, UsageError
from tasksim.events import Finished, ProcessEnded, Published, Started, StateStored

EVENTS = [
    Published(0.0, "client", 1, "", "celery", "id-1", "add", 0),
    Started(0.5, "w1/1", "id-1", "add", 0, False, 1),
    Finished(1.5, "w1/1", "id-1", "add", "SUCCESS"),
    Started(2.0, "w1/1", "id-2", "add", 1, True, None),
    ProcessEnded(3.0, "w1/1", None, 9),
]


def test_each_event_is_a_row_with_the_fields_of_the_kinds_that_occur() -> None:
    frame = Trace(EVENTS).frame()
    assert list(frame.columns[:3]) == ["time", "event", "process"]
    assert list(frame["event"]) == ["Published", "Started", "Finished", "Started", "ProcessEnded"]
    assert frame["time"].tolist() == [0.0, 0.5, 1.5, 2.0, 3.0]
    assert frame.loc[0, "routing_key"] == "celery"
    assert "queue" not in frame
    assert pandas.isna(frame.loc[0, "exitcode"])


def test_a_kind_and_its_fields_choose_the_rows_and_the_columns() -> None:
    frame = Trace(EVENTS).frame(Started, process="w1/1")
    assert list(frame.columns) == [
        "time", "event", "process", "task_id", "task", "retries", "redelivered", "delivery",
    ]  # fmt: skip
    assert frame["retries"].tolist() == [0, 1]
    assert frame["delivery"].isna().tolist() == [False, True]
    pandas.testing.assert_frame_equal(frame, Trace(EVENTS).frame("Started"))


def test_the_type_of_a_column_does_not_depend_on_what_is_in_it() -> None:
    full, empty = Trace(EVENTS).frame(Started), Trace().frame(Started)
    assert len(empty) == 0
    for name in ("time", "retries", "redelivered", "delivery"):
        assert full[name].dtype == empty[name].dtype, name
    assert {name: str(full[name].dtype) for name in ("time", "retries", "redelivered")} == {
        "time": "float64", "retries": "Int64", "redelivered": "boolean",
    }  # fmt: skip


def test_each_attempt_is_a_row() -> None:
    frame = Trace(EVENTS).attempts_frame()
    assert list(frame["state"]) == ["SUCCESS", "LOST"]
    assert (frame["ended"] - frame["started"]).tolist() == [1.0, 1.0]
    assert list(frame["worker"]) == ["w1", "w1"]


def test_an_empty_trace_has_empty_frames() -> None:
    assert list(Trace().frame().columns) == ["time", "event", "process"]
    assert len(Trace().attempts_frame()) == 0


def test_a_kind_or_a_field_that_does_not_exist_is_refused_as_elsewhere() -> None:
    with pytest.raises(UsageError, match="Begun"):
        Trace(EVENTS).frame("Begun")
    with pytest.raises(UsageError, match="colour"):
        Trace(EVENTS).frame(StateStored, colour="red")


def test_without_pandas_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (Trace(EVENTS).frame, Trace(EVENTS).attempts_frame):
        with pytest.raises(UsageError, match=r"pip install 'tasksim\[notebook\]'"):
            ask()
