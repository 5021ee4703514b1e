"""Whoever waits for a condition: the test, a function that was planned, a thread of the test's; and several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tasksim import Simulation
from tests.scene import make_app, sleeper

Act = Callable[[Simulation, Any], object]


@pytest.mark.parametrize(
    ("act", "ends"),
    [
        (lambda sim, task: sim.start_worker("w2", wait=True), 6.16),
        (lambda sim, task: (task.delay(2.0), sim.run(until=sim.finished(task))), 7.0),
        (lambda sim, task: sim.run_in(lambda: 1).result(), 5.0),
        (lambda sim, task: sim.run(until=lambda: sim.now >= 8.0), 8.0),
    ],
    ids=["a worker", "a pattern", "a process", "a function"],
)
def test_a_planned_function_may_wait_for_a_condition(act: Act, ends: float) -> None:
    app = make_app(worker_send_task_events=False)
    task = sleeper(app)
    over: list[float] = []
    with Simulation(app) as sim:
        sim.at(5, lambda: (act(sim, task), over.append(sim.now)))
        sim.run(limit=400)
    assert over == [pytest.approx(ends, abs=1.5 if ends == 8.0 else 0.01)]


def test_in_eager_mode_a_planned_function_may_call() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, mode="eager") as sim:
        sim.at(5, lambda: task.delay(2.0))
        sim.run(limit=400)
        assert sim.trace.of(task).state == "SUCCESS"
        assert sim.now == pytest.approx(7.0, abs=0.01)


def test_a_thread_of_the_tests_waits_beside_the_test() -> None:
    app = make_app()
    task = sleeper(app)
    seen: list[float] = []
    with Simulation(app) as sim:
        result = task.delay(3.0)

        def wait() -> None:
            sim.run(until=sim.finished(result))
            seen.append(sim.now)

        thread = threading.Thread(target=wait)
        thread.start()
        sim.run(until=sim.on("Acked"))
        thread.join()
    assert seen == [pytest.approx(3.0, abs=0.01)]


def test_a_kill_at_an_event_hides_it_from_nobody() -> None:
    app = make_app(task_acks_late=True)
    task = sleeper(app)
    with Simulation(app, workers=2) as sim:
        sim.kill(worker="w1", when=sim.started(task))
        sim.kill(worker="w2", when=sim.started(task, nth=2))
        task.delay(1.0)
        sim.run(limit=100)
        assert [(one.worker, one.state) for one in sim.trace.attempts] == [("w1", "LOST"), ("w2", "LOST")]
        assert [event.target for event in sim.trace.where("Fault")] == ["w1", "w2"]


def test_two_faults_at_one_event_both_happen() -> None:
    app = make_app(task_acks_late=True)
    task = sleeper(app)
    with Simulation(app, workers=2) as sim:
        sim.kill(worker="w1", when=sim.started(task))
        sim.kill(worker="w2", when=sim.started(task))
        task.delay(1.0)
        sim.run(limit=100)
        assert [event.target for event in sim.trace.where("Fault")] == ["w1", "w2"]
        assert {handle.state for handle in sim.workers.values()} == {"down"}


@pytest.mark.parametrize("workers", [0, 1])
def test_with_latency_a_run_ends_when_rest_has_lasted(workers: int) -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers=workers) as sim:
        sim.latency = 0.01
        if workers:
            task.delay(0.25)
        sim.run()
        assert sim.now < 0.5


def test_in_eager_mode_a_call_waits_for_what_is_on_its_way() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, mode="eager") as sim:
        sim.latency = 0.1
        assert task.delay(1.0).state == "SUCCESS"
