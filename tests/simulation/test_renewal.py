"""Work that renews itself without end ends the wait for the end of all work, and is named."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain

from tasksim import Limits, Simulation
from tasksim.errors import Stuck
from tests.scene import make_app

LIMITS = Limits(repeats=30)
MODES = pytest.mark.parametrize("mode", ["broker", "eager"])


def stuck(act: Callable[[], object]) -> str:
    """What a wait without an end says."""
    with pytest.raises(Stuck) as caught:
        act()
    return str(caught.value)


@MODES
def test_a_task_that_retries_for_ever_is_named(mode: str) -> None:
    app = make_app()

    @app.task(name="waits", shared=False, bind=True, max_retries=None)
    def waits(task: Any) -> None:
        task.retry(countdown=10)

    with Simulation(app, limits=LIMITS, mode=mode) as sim:
        error = stuck(lambda: (waits.apply_async(task_id="t1"), sim.run()))
        assert "none in sight: waits[t1] has been retried 30 times. Remedies: sim.run(until=...)" in error
        sim.run(until=2000)
        assert sim.now == 2000  # whoever gives an end has one


@MODES
def test_a_task_that_calls_itself_for_ever_is_named(mode: str) -> None:
    app = make_app()

    @app.task(name="poll", shared=False)
    def poll() -> None:
        poll.apply_async(countdown=60)

    with Simulation(app, limits=LIMITS, mode=mode) as sim:
        assert "is the 30th in a line of tasks" in stuck(lambda: (poll.delay(), sim.run()))


def test_a_message_that_takes_its_process_along_each_time_is_named() -> None:
    app = make_app()

    @app.task(name="poison", shared=False, acks_late=True, reject_on_worker_lost=True)
    def poison() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with Simulation(app, limits=LIMITS) as sim:
        assert "poison[t1] has been delivered again" in stuck(lambda: (poison.apply_async(task_id="t1"), sim.run()))


def test_what_comes_to_an_end_is_no_renewal() -> None:
    app = make_app()

    @app.task(name="again", shared=False, bind=True, max_retries=20)
    def again(task: Any) -> str:
        if task.request.retries < 20:
            task.retry(countdown=1)
        return "done"

    with Simulation(app, limits=LIMITS) as sim:
        results = [again.delay() for _ in range(3)]
        sim.run()
        chain(*[again.si() for _ in range(3)]).apply_async(countdown=0)
        sim.run(limit=1000)
        assert [result.get() for result in results] == ["done"] * 3
        for _ in range(40):  # each call is one of its own
            again.apply_async(retries=20)
        sim.run()


def test_an_app_that_fails_often_does_not_fill_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "celery")  # pytest keeps what is logged, with its frames
    app = make_app()
    held: list[int] = []

    class Heavy:
        def __init__(self) -> None:
            held.append(1)

        def __del__(self) -> None:
            held.pop()

    @app.task(name="fails", shared=False)
    def fails() -> None:
        heavy = Heavy()  # held by the frame, and that by the traceback
        raise ValueError(bool(heavy))

    with Simulation(app) as sim:
        for _ in range(400):
            fails.delay()
        sim.run()
        assert len(held) <= 200
