"""What a failure says: what broke, how much happened, the last events."""

from __future__ import annotations

import pytest

from tasksim import events as e
from tasksim.events import Event
from tasksim.report.failure import MOST_LINES, Facts, failure, what_broke

CHARGE = "shop.charge"
PUBLISHED: list[Event] = [
    e.Published(0.0, "client", 1, "", "celery", "a", CHARGE, 0),
    e.Queued(0.0, "broker", 1, "celery"),
]
TAKEN = [*PUBLISHED, e.Delivered(0.0, "w1", 1, 1, "celery", "a", CHARGE)]
STARTED = [
    e.WorkerBooting(-2.0, "w1", "w1", 1),
    *TAKEN,
    e.Started(1.0, "w1/1", "a", CHARGE, 0),
    e.Acked(1.0, "w1", 1, 1, "celery", "a"),
]


def test_a_task_that_fails_is_named_with_its_error_its_retries_and_the_place_of_the_error() -> None:
    trace = [*TAKEN, e.Started(8.0, "w1/1", "a", CHARGE, 3), e.Failed(8.5, "w1/1", "a", CHARGE, "KeyError", "7")]
    trace += [e.Finished(8.5, "w1/1", "a", CHARGE, "FAILURE"), e.Acked(8.5, "w1", 1, 1, "celery", "a")]
    facts = Facts(places={"a": "shop.py:9, in price"})
    assert what_broke(trace, facts) == [
        "shop.charge[a] failed at 8.5 s on w1/1 after 3 retries: KeyError: 7 (shop.py:9, in price)"
    ]


def test_a_task_that_runs_is_named_with_its_process() -> None:
    assert what_broke(STARTED, Facts()) == ["shop.charge[a] still runs on w1/1, since 1 s"]


def test_a_task_whose_process_was_killed_is_lost_and_so_is_its_worker() -> None:
    trace = [*STARTED, e.WorkerDown(2.0, "w1", "w1", None, 9), e.ProcessEnded(2.0, "w1/1", None, 9)]
    lost, down = what_broke(trace, Facts())
    assert lost.startswith(
        "nothing_lost: shop.charge[a] ran on w1 when that was killed at 2 s; acknowledged, it will not"
    )
    assert down == "worker w1 is down since 2 s: killed by SIGKILL"


@pytest.mark.parametrize(
    ("consumers", "more"),
    [
        (None, ""),
        ({"celery": 1}, ""),
        (
            {"celery": 0, "mail": 2},
            '; no worker consumes that queue (they consume mail; with queues="mail,celery" they would)',
        ),
        ({"celery": 0}, "; no worker consumes that queue"),
    ],
)
def test_a_message_in_a_queue_says_whether_anybody_consumes_it(consumers: dict[str, int] | None, more: str) -> None:
    wanted = "shop.charge[a] waits in queue celery, published at 0 s" + more
    assert what_broke(PUBLISHED, Facts(consumers)) == [wanted]


def test_a_retry_that_is_not_due_yet_says_when_and_why() -> None:
    reason = "Retry in 60s: OSError('busy')"
    trace = [
        e.Retried(0.0, "w1/1", "a", CHARGE, reason, 0),
        e.Published(0.0, "w1/1", 2, "", "celery", "a", CHARGE, 1, "2026", 60.0),
        e.Queued(0.0, "broker", 2, "celery", "a"),
        e.Delivered(0.0, "w1", 2, 2, "celery", "a", CHARGE),
        e.Scheduled(0.0, "w1", "a", CHARGE, 60.0),
    ]
    assert what_broke(trace, Facts()) == [f"shop.charge[a] waits in w1 for retry 1, at 60 s: {reason}"]


@pytest.mark.parametrize(
    ("tasks", "remedy"),
    [
        (("shop.charge_all", "store.charge"), "did you mean store.charge?"),
        (("shop.mail",), "is its module imported by the app (include, imports, autodiscover_tasks)?"),
    ],
)
def test_an_unknown_task_comes_with_a_remedy(tasks: tuple[str, ...], remedy: str) -> None:
    trace = [*TAKEN, e.Rejected(0.0, "w1", 1, 1, "celery", False, "a"), e.TaskUnknown(0.0, "w1", "a", CHARGE)]
    assert what_broke(trace, Facts(tasks=tasks)) == [f"shop.charge[a]: w1 knows no such task; {remedy}"]


def test_ids_are_as_short_as_in_the_events_below() -> None:
    long = "c952ff02-0e48-4fba-b29d-6f9fe46ffc83"
    trace = [e.Published(0.0, "client", 1, "", "celery", long, CHARGE, 0), e.Queued(0.0, "broker", 1, "celery", long)]
    text = failure(trace)
    assert "shop.charge[c952ff02] waits" in text
    assert long not in text


def test_where_all_is_well_it_says_so() -> None:
    ended = [*STARTED, e.Finished(2.0, "w1/1", "a", CHARGE, "SUCCESS")]
    assert "  nothing in the task system: what was published came to its end\n" in failure(ended)
    assert "  nothing in the task system: no task was published\n" in failure([])
    assert failure([]).endswith("the last events of each process, at 0 s:\n(no events)")


def test_what_tells_nothing_is_left_out_as_long_as_something_is_left() -> None:
    boot = [e.WorkerBooting(-2.0, "w1", "w1", 1), e.WorkerUp(-1.0, "w1", "w1")]
    assert "ready" in failure(boot)
    text = failure([*boot, *STARTED])
    assert "ready" not in text
    assert "queued" not in text
    assert "started" in text


def test_however_much_broke_the_text_is_short() -> None:
    trace: list[Event] = []
    for number in range(40):
        one = str(number)
        trace += [
            e.Published(0.0, "client", number, "", "celery", one, CHARGE, 0),
            e.Queued(0.0, "broker", number, "celery", one),
            *(e.HookCalled(1.0, f"w{number}", one, CHARGE, "on_failure") for _ in range(9)),
        ]
    text = failure(trace)
    assert len(text.splitlines()) == MOST_LINES
    assert "  ... and 25 more\n" in text
    assert "last events" in text
