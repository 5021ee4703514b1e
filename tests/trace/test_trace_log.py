"""The trace as a sequence that people subscribe to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasksim
from tasksim.errors import UsageError
from tasksim.events import Acked, Delivered, Event, Redelivered, Started, WorkerUp
from tasksim.trace import Trace
from tests.trace.event_strategies import any_event

UP = WorkerUp(0.0, "w1", "w1")
START = Started(1.0, "w1/1", "a", "shop.charge", 0)
FIRST = Delivered(1.0, "w1", 1, 1, "celery", "a", "shop.charge")
AGAIN = Redelivered(2.0, "w2", 1, 2, "celery", "a", "shop.charge", True)
ACK = Acked(3.0, "w2", 1, 2, "celery", "a")


def test_a_trace_is_a_sequence() -> None:
    trace = Trace([UP])
    trace.record(START)
    assert len(trace) == 2
    assert list(trace) == [UP, START]
    assert trace[-1] is START
    assert trace[:1] == [UP]
    assert START in trace
    assert list(reversed(trace)) == [START, UP]


def test_its_repr_says_how_long_it_is() -> None:
    assert repr(Trace()) == "<Trace: 0 events>"
    assert repr(Trace([UP, START])) == "<Trace: 2 events, until 1 s>"


def test_a_trace_does_not_share_the_list_it_was_made_from() -> None:
    events: list[Event] = [UP]
    trace = Trace(events)
    trace.record(START)
    assert events == [UP]


def test_a_subscriber_hears_its_kind_and_no_other() -> None:
    trace, heard = Trace(), []
    trace.subscribe(Started, heard.append)
    trace.record(UP)
    trace.record(START)
    assert heard == [START]


@pytest.mark.parametrize("kind", [Delivered, "Delivered"])
def test_a_subscriber_hears_subclasses_too(kind: type[Event] | str) -> None:
    trace, heard = Trace(), []
    trace.subscribe(kind, heard.append)
    trace.record(FIRST)
    trace.record(AGAIN)
    assert heard == [FIRST, AGAIN]


def test_a_subscriber_to_a_subclass_does_not_hear_its_base() -> None:
    trace, heard = Trace(), []
    trace.subscribe(Redelivered, heard.append)
    trace.record(FIRST)
    assert heard == []


def test_a_subscriber_to_none_hears_everything_from_now_on() -> None:
    trace, heard = Trace([UP]), []
    trace.subscribe(None, heard.append)
    for event in (START, FIRST, AGAIN):
        trace.record(event)
    assert heard == [START, FIRST, AGAIN]


def test_subscribers_are_called_in_the_order_of_subscription_and_after_the_append() -> None:
    trace, heard = Trace(), []
    trace.subscribe(Started, lambda event: heard.append(("first", trace[-1] is event)))
    trace.subscribe(None, lambda event: heard.append(("second", trace[-1] is event)))
    trace.record(START)
    assert heard == [("first", True), ("second", True)]


def test_unsubscribing_ends_one_subscription_and_twice_is_once() -> None:
    trace, heard = Trace(), []
    stop = trace.subscribe(Started, heard.append)
    trace.subscribe(Started, heard.append)
    stop()
    stop()
    trace.record(START)
    assert heard == [START]


def test_a_callback_may_unsubscribe_itself_and_record() -> None:
    trace, heard = Trace(), []

    def once(event: Event) -> None:
        stop()
        heard.append(event)
        trace.record(START)

    stop = trace.subscribe(Started, once)
    trace.record(START)
    assert heard == [START]
    assert list(trace) == [START, START]


def test_subscribing_to_no_event_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="did you mean Started"):
        Trace().subscribe("Startd", print)


def test_by_a_worker_gives_its_pool_processes_too_and_by_a_process_only_that() -> None:
    trace = Trace([UP, START, WorkerUp(0.0, "w10", "w10"), AGAIN])
    assert trace.by("w1") == [UP, START]
    assert trace.by("w1/1") == [START]


def test_by_takes_a_handle() -> None:
    class Handle:
        name = "w1"

    assert Trace([UP, AGAIN]).by(Handle()) == [UP]
    with pytest.raises(UsageError, match="is no process"):
        Trace().by(3)


def test_where_without_arguments_gives_everything() -> None:
    assert Trace([UP, START]).where() == [UP, START]


def test_where_takes_a_kind_its_subclasses_and_fields() -> None:
    trace = Trace([UP, START, FIRST, AGAIN, ACK])
    assert trace.where(Delivered) == [FIRST, AGAIN]
    assert trace.where("Redelivered") == [AGAIN]
    assert trace.where(Delivered, worker="w2") == [AGAIN]
    assert trace.where(time=lambda time: time > 1.5) == [AGAIN, ACK]


def test_where_finds_by_task_what_carries_an_id_only() -> None:
    trace = Trace([FIRST, ACK, Acked(3.0, "w2", 2, 3, "celery", "b"), Acked(3.0, "w2", 3, 4, "celery")])
    assert trace.where(Acked, task="shop.charge") == [ACK]
    assert trace.where(task="shop.charge") == [FIRST, ACK]
    assert trace.where(Acked, task=None) == trace[2:]


def test_a_pattern_of_a_trace_knows_tasks_published_later() -> None:
    trace = Trace()
    armed = trace.pattern(Acked, task="shop.charge").arm()
    trace.record(FIRST)
    trace.record(ACK)
    assert armed.matches(ACK)


def test_the_digest_is_the_same_however_often_it_is_taken() -> None:
    growing = Trace()
    for event in (UP, START, FIRST):
        growing.record(event)
        growing.digest()
    assert growing.digest() == growing.digest() == Trace([UP, START, FIRST]).digest()


def test_the_digest_of_nothing_is_that_of_the_empty_text() -> None:
    assert Trace().digest() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_stays_what_it_was_in_earlier_releases() -> None:
    wanted = "de5e7a66db45741e838471784bf2046084c9de69c516db9a5c8f5ec748da5ddc"
    assert Trace([UP, START, FIRST, AGAIN, ACK]).digest() == wanted


@given(st.lists(any_event(), max_size=4), st.lists(any_event(), max_size=4))
def test_digests_are_equal_if_and_only_if_the_events_are(left: list[Event], right: list[Event]) -> None:
    assert (Trace(left).digest() == Trace(right).digest()) == (left == right)


def test_the_digest_does_not_care_how_a_whole_second_was_written() -> None:
    assert Trace([WorkerUp(3, "w1", "w1")]).digest() == Trace([WorkerUp(3.0, "w1", "w1")]).digest()


def test_a_saved_trace_is_read_without_celery_greenlet_or_the_kernel(tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    Trace([UP, START, FIRST, AGAIN, ACK]).save(saved)
    parts = ("tasksim.trace", "tasksim.check", "tasksim.report")
    script = f"""
import sys
from tasksim.report import last_events, summary, timeline
from tasksim.trace import Trace, first_difference
trace = Trace.load({str(saved)!r})
timeline(trace), summary(trace), last_events(trace), trace.of("a"), trace.digest(), first_difference(trace, trace)
ours = {{"tasksim", "tasksim.errors", "tasksim.events", "tasksim.nearest"}}
strangers = [
    name
    for name in sys.modules
    if name.partition(".")[0] in ("celery", "kombu", "billiard", "greenlet", "amqp", "redis", "fakeredis", "freezegun")
    or (name.startswith("tasksim") and name not in ours and not name.startswith({parts!r}))
]
assert not strangers, strangers
"""
    home = str(Path(tasksim.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
