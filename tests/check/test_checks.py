"""What the checks say of events that should not be: a broker or a worker that breaks a law."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasksim
from tasksim.check import CHECKS, INCIDENTS, LAWS, Finding, check_trace
from tasksim.errors import UsageError
from tasksim.events import (
    Accepted,
    Acked,
    Delivered,
    Dropped,
    Event,
    Failed,
    Finished,
    MessageExpired,
    Published,
    Queued,
    Received,
    Redelivered,
    Rejected,
    Requeued,
    RetryAsked,
    Started,
    WorkerBooting,
    WorkerDown,
)
from tests.trace.event_strategies import any_event

BOOT = WorkerBooting(-2.0, "w1", "w1", 1)
PUBLISHED = Published(0.0, "client", 1, "", "celery", "a", "shop.charge", 0)
QUEUED = Queued(0.0, "broker", 1, "celery", "a")
DELIVERED = Delivered(0.0, "w1", 1, 1, "celery", "a", "shop.charge", channel=1, prefetch=8)
RECEIVED = Received(0.0, "w1", "a", "shop.charge", 0, False)
STARTED = Started(0.0, "w1/1", "a", "shop.charge", 0)
ACCEPTED = Accepted(0.0, "w1", "a", "shop.charge", "w1/1")
ACKED = Acked(0.0, "w1", 1, 1, "celery", "a")
FINISHED = Finished(1.0, "w1/1", "a", "shop.charge", "SUCCESS")
WELL = [BOOT, PUBLISHED, QUEUED, DELIVERED, RECEIVED, STARTED, ACCEPTED, ACKED, FINISHED]

ASKED = RetryAsked(0.5, "w1/1", "a", "shop.charge", 2, 8.0, "backoff", 3, 2, 60)
RETRY = Published(0.5, "w1/1", 2, "", "celery", "a", "shop.charge", 3, None, 8.5)


def one(events: list[Event], check: str) -> Finding:
    (finding,) = check_trace(events, check)
    return finding


def law(events: list[Event], check: str) -> str:
    return one(events, check).law


def test_a_run_in_which_all_went_well_has_no_finding() -> None:
    assert check_trace(WELL) == []


@pytest.mark.parametrize("end", range(1, len(WELL)))
def test_a_run_that_is_not_over_has_no_finding(end: int) -> None:
    assert [finding for finding in check_trace(WELL[:end]) if end > WELL.index(QUEUED)] == []


# --- nothing lost


def test_a_message_that_no_queue_took_is_lost() -> None:
    finding = one([PUBLISHED], "nothing_lost")
    assert str(finding) == "nothing_lost: shop.charge[a] was published and put into no queue (law S41)"
    assert finding.events == (PUBLISHED,)
    assert one([replace(PUBLISHED, exchange="orders")], "nothing_lost").incident == "I33"


@pytest.mark.parametrize(
    ("reason", "lost"), [("unroutable", True), ("server restarted", True), ("queue purged", False), ("maxlen", False)]
)
def test_a_message_that_the_broker_drops_is_lost_unless_somebody_asked_for_it(reason: str, lost: bool) -> None:
    dropped = Dropped(1.0, "broker", 1, "celery", reason, "a")
    assert bool(check_trace([PUBLISHED, QUEUED, dropped], "nothing_lost")) == lost


@pytest.mark.parametrize("taken", [[], [DELIVERED]])
def test_a_message_that_redis_popped_for_nobody_is_lost(taken: list[Event]) -> None:
    reason = f"popped and never {'noted' if taken else 'read'}"
    finding = one([PUBLISHED, QUEUED, *taken, Dropped(1.0, "broker", 1, "celery", reason, "a")], "nothing_lost")
    assert (finding.law, finding.incident) == ("S39", "I31")


def test_a_message_whose_task_a_worker_runs_is_not_lost_with_its_queue() -> None:
    gone = Dropped(1.0, "broker", 1, "celery", "server restarted", "a")
    begun = [BOOT, PUBLISHED, QUEUED, DELIVERED, RECEIVED, ACCEPTED, STARTED]
    assert check_trace([*begun, gone], "nothing_lost") == []
    assert check_trace([*begun, gone, FINISHED], "nothing_lost") == []
    assert len(check_trace([*begun[:4], gone], "nothing_lost")) == 1


def test_a_message_whose_time_to_live_ends_is_not_lost() -> None:
    assert check_trace([PUBLISHED, QUEUED, MessageExpired(1.0, "broker", 1, "celery", "a")]) == []


@pytest.mark.parametrize(("died", "incident"), [(0.0, "I6"), (1.0, "I73")])
def test_a_message_that_was_accepted_and_never_began_is_lost(died: float, incident: str) -> None:
    down = WorkerDown(died, "w1", "w1", None, 9)
    events = [BOOT, PUBLISHED, QUEUED, DELIVERED, RECEIVED, ACCEPTED, ACKED]
    assert check_trace(events, "nothing_lost") == []
    assert one([*events, down], "nothing_lost").incident == incident


def test_a_message_in_two_queues_is_lost_in_each_by_itself() -> None:
    other = [replace(QUEUED, queue="all"), Dropped(0.0, "broker", 1, "all", "server restarted", "a")]
    assert one([*WELL, *other], "nothing_lost").events == (PUBLISHED, other[1])


def test_a_hook_that_fails_is_not_the_loss_of_its_process() -> None:
    unknown = replace(FINISHED, state="UNKNOWN")
    failed = Failed(1.0, "w1/1", "a", "shop.charge", "RuntimeError", "on_retry")
    assert check_trace([*WELL[:-1], unknown, failed]) == []
    assert one([*WELL[:-1], unknown], "nothing_lost").incident == "I6"


def test_what_another_program_takes_is_its_own_affair() -> None:
    assert (
        check_trace([PUBLISHED, QUEUED, replace(DELIVERED, process="client"), replace(ACKED, process="client")]) == []
    )


def test_a_message_that_came_back_after_its_workers_death_is_not_lost() -> None:
    down = WorkerDown(0.5, "w1", "w1", None, 9)
    back = Requeued(0.5, "broker", 1, "celery", "connection closed", "a")
    assert check_trace([BOOT, PUBLISHED, QUEUED, DELIVERED, RECEIVED, STARTED, back, down]) == []


def test_a_message_without_a_task_is_nobodys() -> None:
    assert check_trace([replace(PUBLISHED, task=None, task_id=None)]) == []


# --- nothing twice


def again(delivery: int, time: float, process: str = "w1") -> list[Event]:
    return [
        Redelivered(time, process, 1, delivery, "celery", "a", "shop.charge", True),
        Started(time, f"{process}/1", "a", "shop.charge", 0, True),
    ]


def test_a_second_run_after_a_whole_one_is_found() -> None:
    finding = one([*WELL, Requeued(2.0, "broker", 1, "celery", "recovered", "a"), *again(2, 2.0)], "nothing_twice")
    assert finding.sentence == "shop.charge[a] ran 2 times, at 0, 2 s: its message came back while it ran (recovered)"


def test_a_second_run_while_the_first_goes_on_is_found() -> None:
    assert law([*WELL[:7], *again(2, 0.5, "w2")], "nothing_twice") == "S33"


def test_a_run_in_each_of_two_queues_is_no_second_run() -> None:
    other = [replace(QUEUED, queue="all"), replace(DELIVERED, process="w2", delivery=2, queue="all")]
    assert check_trace([*WELL, *other, replace(STARTED, process="w2/1", time=0.5)], "nothing_twice") == []


def test_a_second_run_after_a_death_is_none() -> None:
    down = WorkerDown(0.5, "w1", "w1/1", None, 9)
    assert check_trace([*WELL[:7], down, *again(2, 1.0, "w2")], "nothing_twice") == []


def test_a_second_run_that_the_task_asked_for_is_none() -> None:
    rejected = [replace(FINISHED, state="REJECTED"), Rejected(1.0, "w1", 1, 1, "celery", True, "a")]
    back = Requeued(1.0, "broker", 1, "celery", "rejected", "a")
    assert check_trace([*WELL[:6], *rejected, back, *again(2, 1.0)]) == []


# --- attempts bounded, and their delays


def test_a_retry_within_its_limits_is_no_finding() -> None:
    assert check_trace([ASKED, RETRY], "attempts_bounded", "backoff_envelope") == []


def test_a_retry_beyond_max_retries_is_found() -> None:
    assert law([replace(ASKED, max_retries=2), RETRY], "attempts_bounded") == "S21"
    assert check_trace([replace(ASKED, max_retries=None), RETRY], "attempts_bounded") == []


def test_a_retry_that_was_not_counted_is_found() -> None:
    assert law([ASKED, replace(RETRY, retries=2)], "attempts_bounded") == "S24"


@pytest.mark.parametrize(
    ("change", "due", "wanted"),
    [
        ({}, 9.5, "S29"),
        ({}, None, "S29"),
        ({"source": "default", "backoff": None, "backoff_max": None}, 180.5, "S22"),
        ({"delay": 9.0}, 9.5, "S27"),
        ({"delay": 9.0, "jitter": True}, 9.5, "S28"),
        ({"delay": 3.3, "jitter": True}, 3.8, "S28"),
    ],
)
def test_a_delay_that_the_settings_do_not_give_is_found(
    change: dict[str, object], due: float | None, wanted: str
) -> None:
    assert law([replace(ASKED, **change), replace(RETRY, due=due)], "backoff_envelope") == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("delay", [0.0, 3.0, 8.0])
def test_jitter_may_draw_anything_from_zero_to_the_backoff(delay: float) -> None:
    events = [replace(ASKED, delay=delay, jitter=True), replace(RETRY, due=0.5 + delay)]
    assert check_trace(events, "backoff_envelope") == []


def test_what_rabbitmq_delays_by_itself_has_no_eta_to_look_at() -> None:
    assert check_trace([ASKED, replace(RETRY, due=None, exchange="celery_delayed_27")], "backoff_envelope") == []


# --- ETA


def test_a_start_before_its_eta_is_found() -> None:
    told = replace(RECEIVED, due=10.0)
    finding = one([told, replace(STARTED, time=9.5)], "not_before_eta")
    assert finding.sentence == "shop.charge[a] started at 9.5 s, 0.5 s before its ETA"
    assert check_trace([told, replace(STARTED, time=10.0)], "not_before_eta") == []


def test_an_eta_is_that_of_the_last_message_that_the_worker_received() -> None:
    assert check_trace([replace(RECEIVED, due=10.0), RECEIVED, STARTED], "not_before_eta") == []


# --- prefetch


def delivered(message: int, prefetch: int = 2, queue: str = "celery", per_consumer: bool = False) -> Delivered:
    return Delivered(0.0, "w1", message, message, queue, "a", "t", False, 1, prefetch, per_consumer)


def test_one_delivery_too_many_is_found() -> None:
    finding = one([delivered(1), delivered(2), delivered(3)], "unacked_within_prefetch")
    assert finding.sentence == "a channel of w1 holds 3 unacknowledged messages, its prefetch is 2"
    assert [event.message for event in finding.events] == [1, 2, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "between",
    [
        Acked(0.0, "w1", 1, 1, "celery"),
        Rejected(0.0, "w1", 1, 1, "celery", False),
        Requeued(0.0, "broker", 1, "celery", "recovered"),
    ],
)
def test_what_was_settled_makes_room(between: Event) -> None:
    assert check_trace([delivered(1), delivered(2), between, delivered(3)], "unacked_within_prefetch") == []


def test_prefetch_may_count_for_each_consumer_or_for_nobody() -> None:
    two = [delivered(number, 1, queue, per_consumer=True) for number, queue in ((1, "a"), (2, "b"))]
    assert check_trace(two, "unacked_within_prefetch") == []
    assert law([*two, delivered(3, 1, "b", per_consumer=True)], "unacked_within_prefetch") == "S35"
    assert check_trace([delivered(number, 0) for number in range(9)], "unacked_within_prefetch") == []


# --- all of them


@settings(deadline=None)
@given(st.lists(any_event(), max_size=30))
def test_no_sequence_of_events_makes_a_check_fail(events: list[Event]) -> None:
    assert all(str(finding) for finding in check_trace(events))


def test_a_check_that_there_is_not_is_named() -> None:
    with pytest.raises(UsageError, match="there is no check 'nothing'; there are: nothing_lost, "):
        check_trace([], "nothing")


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_says_its_laws_its_exceptions_and_its_incidents(name: str) -> None:
    check = CHECKS[name]
    assert check.name == name
    assert check.laws
    assert check.exceptions
    assert set(check.laws) <= set(LAWS)
    assert set(check.incidents) <= set(INCIDENTS)
    cited = {
        word.strip("();,") for text in check.exceptions for word in text.split() if word.strip("();,")[1:].isdigit()
    }
    assert cited <= set(LAWS), cited - set(LAWS)


def test_every_incident_and_every_law_is_some_checks() -> None:
    files = [path for path in Path(tasksim.check.__file__).parent.glob("*.py") if path.name != "sources.py"]
    cited = set(re.findall(r"\b[SI]\d+\b", "".join(path.read_text(encoding="utf-8") for path in files)))
    assert set().union(*(check.incidents for check in CHECKS.values())) == set(INCIDENTS)
    assert cited == {*LAWS, *INCIDENTS}
