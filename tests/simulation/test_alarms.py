"""Timers and signals that a task sends to itself: they are its own process', in virtual time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import WorkerLostError

from tasksim import Simulation, UnsupportedError
from tasksim.events import ProcessEnded
from tests.scene import make_app


def outcome(body: Callable[[], Any], **options: Any) -> Any:
    """What a task with this body returns."""
    app: Celery = make_app()
    task = app.task(name="body", shared=False)(body)
    with Simulation(app, **options) as sim:
        result = task.delay().get()
        assert sim.trace.where(ProcessEnded, signal=None) == sim.trace.where(ProcessEnded)
    return result


def test_an_alarm_rings_in_virtual_time_and_its_handler_ends_a_sleep() -> None:
    def body() -> tuple[str, float]:
        def ring(*_: object) -> None:
            raise TimeoutError("too long")

        signal.signal(signal.SIGALRM, ring)
        assert signal.alarm(5) == 0
        began = time.monotonic()
        try:
            time.sleep(3600)
        except TimeoutError as exc:
            return str(exc), time.monotonic() - began
        return "never stopped", 0.0

    assert outcome(body) == ["too long", pytest.approx(5.0)]


def test_an_alarm_can_be_taken_back_and_says_what_was_left() -> None:
    def body() -> list[int]:
        first = signal.alarm(10)
        time.sleep(3)
        second = signal.alarm(0)
        time.sleep(20)
        return [first, second, signal.alarm(0)]

    assert outcome(body) == [0, 7, 0]


def test_an_alarm_that_nobody_handles_ends_the_pool_process() -> None:
    app = make_app()

    @app.task(name="body", shared=False)
    def body() -> None:
        signal.alarm(1)
        time.sleep(10)

    with Simulation(app) as sim:
        with pytest.raises(WorkerLostError, match="SIGALRM"):
            body.delay().get()
        assert [event.signal for event in sim.trace.where(ProcessEnded)] == [signal.SIGALRM]


def test_a_timer_with_an_interval_comes_again_until_it_is_stopped() -> None:
    def body() -> tuple[list[float], Any, Any]:
        began, rings = time.monotonic(), []
        signal.signal(signal.SIGALRM, lambda *_: rings.append(round(time.monotonic() - began, 3)))
        signal.setitimer(signal.ITIMER_REAL, 0.5, 2.0)
        time.sleep(1.0)
        seen = signal.getitimer(signal.ITIMER_REAL)
        time.sleep(4.0)
        before = signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(10.0)
        return rings, [round(one, 3) for one in seen], [round(one, 3) for one in before]

    assert outcome(body) == [[0.5, 2.5, 4.5], [1.5, 2.0], [1.5, 2.0]]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_signal_to_oneself_is_handled_at_once(pool: str) -> None:
    def body() -> list[str]:
        seen: list[str] = []
        signal.signal(signal.SIGUSR2, lambda *_: seen.append("handled"))
        signal.raise_signal(signal.SIGUSR2)
        seen.append("between")
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
        return seen

    assert outcome(body, workers={"w1": {"pool": pool}}) == ["handled", "between", "handled"]


def test_a_pause_ends_with_a_signal() -> None:
    def body() -> float:
        signal.signal(signal.SIGUSR2, lambda *_: None)
        began, pid = time.monotonic(), os.getpid()
        threading.Timer(5.0, lambda: os.kill(pid, signal.SIGUSR2)).start()
        signal.pause()
        return time.monotonic() - began

    assert outcome(body) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("act", "number"),
    [(lambda: os.abort(), signal.SIGABRT), (lambda: signal.raise_signal(signal.SIGTERM), signal.SIGTERM)],
)
def test_a_task_that_ends_its_process_ends_no_other(act: Callable[[], None], number: int) -> None:
    app = make_app()

    @app.task(name="body", shared=False)
    def body() -> None:
        act()
        time.sleep(1)

    with Simulation(app) as sim:
        with pytest.raises(WorkerLostError):
            body.delay().get()
        assert [event.signal for event in sim.trace.where(ProcessEnded)] == [number]


@pytest.mark.parametrize(
    ("pool", "act", "remedy"),
    [
        ("prefork", lambda: os.killpg(os.getpgrp(), signal.SIGUSR1), "with os.kill to each process"),
        ("solo", lambda: os.kill(os.getppid(), signal.SIGTERM), "sends SIGTERM to the test's process"),
        ("prefork", lambda: signal.setitimer(signal.ITIMER_PROF, 1), "ITIMER_REAL, which counts virtual time"),
    ],
)
def test_what_would_reach_the_test_or_cannot_be_is_refused(pool: str, act: Callable[[], Any], remedy: str) -> None:
    app = make_app()

    @app.task(name="body", shared=False)
    def body() -> None:
        act()

    with Simulation(app, workers={"w1": {"pool": pool}}), pytest.raises(UnsupportedError, match=remedy):
        body.delay().get()


def test_a_timer_of_the_tests_own_is_real() -> None:
    with Simulation(make_app()) as sim:
        before = signal.setitimer(signal.ITIMER_REAL, 1000.0)
        try:
            sim.advance(5000.0)
            assert 900.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000.0
        finally:
            signal.setitimer(signal.ITIMER_REAL, *before)
