"""Celery's own objects as targets of questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import celery._state
import pytest
from celery import Celery, chain, group, shared_task

from tasksim import Simulation
from tasksim.errors import UsageError
from tasksim.events import Event, Started
from tasksim.trace import Trace

app = Celery("shop", broker="refused://", backend="disabled://", set_as_current=False)


@app.task(name="shop.charge", shared=False)
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


@pytest.fixture
def stranger() -> Iterator[None]:
    """Another app is the current one, and does not know the shared task."""
    before = celery._state._tls.current_app
    other = Celery("other", broker="refused://")
    for name in ("shop.mail", "shop.post"):
        dict.pop(other.tasks, name, None)
    yield
    celery._state._tls.current_app = before


@pytest.mark.usefixtures("stranger")
def test_a_shared_task_that_the_current_app_does_not_know_is_an_error_with_a_remedy() -> None:
    for ask in (lambda: Trace(EVENTS).of(mail), lambda: Trace(EVENTS).where(Started, task=mail)):
        with pytest.raises(UsageError, match=r"does not know 'shop\.mail'. Ask by its name instead"):
            ask()


@pytest.mark.filterwarnings("ignore::tasksim.errors.FaultNeverHappened")
def test_a_shared_task_is_that_of_the_simulated_app_inside_and_after(request: pytest.FixtureRequest) -> None:
    @shared_task(name="shop.post")
    def post() -> str:
        return "sent"

    own = Celery("own", broker="amqp://", backend="cache+memory://")
    with Simulation(own) as sim:
        planned = sim.started(post)
        assert post.delay().get() == "sent"
        request.getfixturevalue("stranger")
        assert len(sim.trace.of(post).attempts) == 1
        assert str(sim.started(post)) == str(planned)
        sim.kill(task=post, when=sim.started(post))
    assert len(sim.trace.of(post).attempts) == 1
    assert len(sim.trace.where(Started, task=post)) == 1
