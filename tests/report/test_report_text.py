"""The summary of a trace, and the last events of each process."""

from __future__ import annotations

from tasksim.events import (
    Delivered,
    Event,
    Failed,
    Fault,
    ProcessEnded,
    Published,
    Redelivered,
    Retried,
    Started,
    Succeeded,
    WorkerUp,
)
from tasksim.report import last_events, summary, timeline
from tasksim.trace import Trace

CHARGE = "shop.charge"
LIFE: list[Event] = [
    Published(0.0, "client", 1, "", "celery", "a", CHARGE, 0),
    Delivered(0.0, "w1", 1, 1, "celery", "a", CHARGE),
    Started(1.0, "w1/1", "a", CHARGE, 0),
    Fault(2.5, "world", "kill", "w1/1"),
    ProcessEnded(2.5, "w1/1", None, 9),
    Redelivered(10.0, "w1", 1, 2, "celery", "a", CHARGE, True),
    Started(10.0, "w1/2", "a", CHARGE, 0),
    Retried(11.0, "w1/2", "a", CHARGE, "no answer", 1),
    Succeeded(20.5, "w1/2", "a", CHARGE),
]


def test_the_summary_counts_and_names_each_fault() -> None:
    wanted = (
        "1 published, 1 delivered, 1 redelivered, 2 started, 1 succeeded, 1 retried, 1 lost with its process; "
        "20.5 virtual seconds\n"
        "fault at 2.5: kill w1/1"
    )
    assert summary(Trace(LIFE)) == summary(LIFE) == wanted


def test_the_summary_counts_the_lost_together() -> None:
    events = [
        event
        for place in (1, 2)
        for event in (Started(1.0, f"w1/{place}", "a", CHARGE, 0), ProcessEnded(2.0, f"w1/{place}", None, 9))
    ]
    assert "2 lost with their process;" in summary(events)


def test_the_summary_of_nothing_is_a_sentence_still() -> None:
    assert summary(Trace()) == "0 published, 0 delivered; 0 virtual seconds"


def test_the_last_events_are_a_few_of_each_process_in_order() -> None:
    assert [line.split()[:3] for line in last_events(LIFE, per_process=1).splitlines()] == [
        ["0", "client", "published"],
        ["2.5", "world", "FAULT"],
        ["2.5", "w1/1", "ended"],
        ["10", "w1", "redelivered"],
        ["20.5", "w1/2", "succeeded"],
    ]


def test_the_last_events_are_at_most_so_many_and_the_latest() -> None:
    assert last_events(LIFE, per_process=1, limit=2) == timeline(LIFE[5:6] + LIFE[8:])
    assert last_events(LIFE, limit=0) == "(no events)"


def test_the_last_events_use_the_short_names_of_the_whole_trace() -> None:
    events: list[Event] = [Succeeded(0.0, "w1/1", "b", "bank.charge"), *LIFE]
    assert "shop.charge" in last_events(events, limit=1)


def test_the_last_events_fit_the_width() -> None:
    failed = Failed(1.0, "w1/1", "a", CHARGE, "ValueError", "no " * 100)
    assert max(map(len, last_events([WorkerUp(0.0, "w1", "w1"), failed], width=60).splitlines())) <= 60
