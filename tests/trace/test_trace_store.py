"""Trace files: what is written is read again, and what is not a trace is refused by file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasksim.errors import TraceError, UsageError
from tasksim.events import KINDS, SCHEMA_VERSION, Event, Scheduled, WorkerDown, WorkerUp
from tasksim.trace import Trace
from tests.trace.event_strategies import any_event, of_kind

HEADER = json.dumps({"tasksim": SCHEMA_VERSION})
UP = '{"event":"WorkerUp","time":0.0,"process":"w1","worker":"w1"}'

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@given(data=st.data())
@settings(same_folder, max_examples=10)
def test_nothing_of_any_kind_is_lost_in_a_round_trip(tmp_path: Path, kind: type[Event], data: st.DataObject) -> None:
    events = data.draw(st.lists(of_kind(kind), min_size=1, max_size=3))
    Trace(events).save(tmp_path / "run.jsonl")
    assert list(Trace.load(tmp_path / "run.jsonl")) == events


@given(events=st.lists(any_event(), max_size=5))
@same_folder
def test_a_round_trip_keeps_the_digest(tmp_path: Path, events: list[Event]) -> None:
    trace = Trace(events)
    trace.save(tmp_path / "run.jsonl")
    assert Trace.load(tmp_path / "run.jsonl").digest() == trace.digest()


@given(
    metadata=st.dictionaries(
        st.text(max_size=5).filter(lambda key: key != "tasksim"), st.integers() | st.text() | st.none() | st.booleans()
    )
)
@same_folder
def test_metadata_survives_a_round_trip(tmp_path: Path, metadata: dict[str, object]) -> None:
    Trace(metadata=metadata).save(tmp_path / "run.jsonl")
    assert Trace.load(tmp_path / "run.jsonl").metadata == metadata


def test_metadata_given_to_save_comes_on_top(tmp_path: Path) -> None:
    Trace(metadata={"seed": 1, "celery": "5.7.0"}).save(tmp_path / "run.jsonl", seed=2)
    assert Trace.load(tmp_path / "run.jsonl").metadata == {"seed": 2, "celery": "5.7.0"}


@pytest.mark.parametrize("metadata", [{"tasksim": 2}, {"app": object()}, {"limit": float("inf")}])
def test_metadata_that_cannot_be_written_is_a_usage_error(tmp_path: Path, metadata: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="metadata of a trace"):
        Trace(metadata=metadata).save(tmp_path / "run.jsonl")
    assert not (tmp_path / "run.jsonl").exists()


def test_the_file_is_lines_of_ascii_json_with_a_header_first(tmp_path: Path) -> None:
    Trace([WorkerUp(1.5, "w\u00e4\n", "w1")]).save(tmp_path / "run.jsonl", seed=7)
    assert (tmp_path / "run.jsonl").read_bytes() == (
        b'{"tasksim":1,"seed":7}\n{"event":"WorkerUp","time":1.5,"process":"w\\u00e4\\n","worker":"w1"}\n'
    )


def load(folder: Path, *lines: str) -> Trace:
    path = folder / "run.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return Trace.load(path)


def test_other_writers_may_leave_out_points_and_defaults_and_add_empty_lines(tmp_path: Path) -> None:
    line = '{"event":"Scheduled","time":1,"process":"w\u00e4","task_id":"a","task":"t","due":30}'
    queued = '{"event":"Queued","time":1,"process":"broker","message":1,"queue":"celery"}'
    trace = load(tmp_path, HEADER + "\r", "", line + "\r", queued, "")
    assert trace[0] == Scheduled(1.0, "w\u00e4", "a", "t", 30.0)
    assert isinstance(trace[0], Scheduled)
    assert isinstance(trace[0].due, float)
    assert trace[1].task_id is None  # type: ignore[attr-defined]


def test_null_is_read_where_the_vocabulary_allows_it(tmp_path: Path) -> None:
    line = '{"event":"WorkerDown","time":1.0,"process":"w1","worker":"w1","exitcode":null,"signal":9}'
    assert list(load(tmp_path, HEADER, line)) == [WorkerDown(1.0, "w1", "w1", None, 9)]


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        ([""], 1, "the file is empty"),
        ([UP], 1, "not a trace: its first line must be a header"),
        (['{"tasksim": "1"}'], 1, "not a trace"),
        (['{"tasksim": true}'], 1, "not a trace"),
        (['{"tasksim": 99}'], 1, "version 99, and this tasksim reads version 1"),
        (["hello"], 1, "Expecting value"),
        ([HEADER, UP, UP[:-9]], 3, "Unterminated string|Expecting"),
        ([HEADER, "", "[1]"], 3, "a line must be a JSON object"),
        ([HEADER, "[" * 100_000], 2, "recursion"),
        ([HEADER, "9" * 10_000], 2, "digits"),
        ([HEADER, '{"time":1}'], 2, 'the key "event" is missing'),
        ([HEADER, '{"event":"Upped"}'], 2, "no event is called 'Upped'"),
        ([HEADER, '{"event":["Up"]}'], 2, r"no event is called \['Up'\]"),
        ([HEADER, '{"event":"WorkerUp","time":0,"process":"w1"}'], 2, "WorkerUp needs the field 'worker'"),
        ([HEADER, UP[:-1] + ',"x":1}'], 2, "WorkerUp has no field 'x'"),
        ([HEADER, UP.replace("0.0", '"0"')], 2, "'time' of WorkerUp must be float, not '0'"),
        ([HEADER, UP.replace("0.0", "true")], 2, "'time' of WorkerUp must be float, not True"),
        ([HEADER, UP.replace("0.0", "NaN")], 2, "NaN is not a number of JSON"),
        ([HEADER, UP.replace("0.0", "1e999")], 2, "must be float, not inf"),
        ([HEADER, UP.replace('"w1"}', "null}")], 2, "'worker' of WorkerUp must be str, not None"),
        (
            [HEADER, '{"event":"ProcessEnded","time":0,"process":"p","exitcode":"0","signal":null}'],
            2,
            "must be int or null, not '0'",
        ),
        (
            [HEADER, '{"event":"ProcessEnded","time":0,"process":"p","exitcode":false,"signal":null}'],
            2,
            "must be int or null, not False",
        ),
    ],
)
def test_what_is_no_trace_is_refused_by_file_line_and_reason(
    tmp_path: Path, lines: list[str], number: int, reason: str
) -> None:
    with pytest.raises(TraceError, match=rf"run\.jsonl:{number}: .*({reason})"):
        load(tmp_path, *lines)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_bytes(HEADER.encode() + b"\n\xff\n")
    with pytest.raises(TraceError, match=r"run\.jsonl:2: 'utf-8' codec"):
        Trace.load(tmp_path / "run.jsonl")


def test_a_file_that_is_not_there_is_a_trace_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nowhere\.jsonl: No such file"):
        Trace.load(tmp_path / "nowhere.jsonl")
