"""Celery's own objects as targets of questions."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, chain, group, shared_task

from tasksim.events import Event, Started
from tasksim.trace import Trace

app = Celery("shop", broker="refused://", backend="disabled://", set_as_current=False)


@app.task(name="shop.charge")
def charge() -> None:
    raise AssertionError("the task was called")


@shared_task(name="shop.mail")
def mail() -> None:
    raise AssertionError("the task was called")


EVENTS: list[Event] = [
    Started(1.0, "w1/1", "a", "shop.charge", 0),
    Started(2.0, "w1/1", "b", "shop.mail", 0),
    Started(3.0, "w1/1", "c", "shop.charge", 0),
]


@pytest.mark.parametrize(
    ("target", "starts"),
    [
        (charge, [1.0, 3.0]),
        (mail, [2.0]),
        (charge.s(), [1.0, 3.0]),
        (app.AsyncResult("a"), [1.0]),
        (app.GroupResult("g", [app.AsyncResult("c"), app.AsyncResult("b")]), [2.0, 3.0]),
    ],
    ids=["task", "shared task", "signature", "result", "group result"],
)
def test_tasks_signatures_and_results_are_known_without_asking_any_store(target: Any, starts: list[float]) -> None:
    assert Trace(EVENTS).of(target).starts == starts


def test_tasks_and_results_are_no_predicates() -> None:
    trace = Trace(EVENTS)
    assert trace.where(Started, task=charge) == [EVENTS[0], EVENTS[2]]
    assert trace.where(Started, task=charge.s()) == [EVENTS[0], EVENTS[2]]
    assert trace.where(Started, task=app.AsyncResult("b")) == [EVENTS[1]]
    assert trace.where(Started, task_id=app.AsyncResult("b")) == [EVENTS[1]]


def test_a_canvas_goes_by_its_own_name() -> None:
    assert Trace(EVENTS).of(chain(charge.si(), mail.si())).events == []
    assert Trace(EVENTS).of(group(charge.si(), mail.si())).events == []
