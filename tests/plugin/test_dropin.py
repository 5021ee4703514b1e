"""`tasksim_dropin = true`: suites that were written for Celery's own in-process worker run unchanged."""

from __future__ import annotations

import time

import pytest

CONFTEST = """
import pytest

pytest_plugins = ("celery.contrib.pytest",)

@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": "amqp://", "result_backend": "redis://"}
"""

SUITE = """
import os, time
from celery import shared_task

@shared_task
def double(number):
    time.sleep(60)
    return 2 * number

def test_worker_of_one_test(celery_app, celery_worker):
    @celery_app.task
    def late(number):
        return number
    celery_worker.reload()
    began = time.monotonic()
    assert late.apply_async((1,), countdown=600).get(timeout=700) == 1
    assert time.monotonic() - began > 600

def test_worker_of_the_session(celery_session_app, celery_session_worker):
    assert double.delay(4).get(timeout=100) == 8
    assert celery_session_app.control.inspect(timeout=1).stats().popitem()[1]["pid"] == os.getpid()

def test_it_outlives_its_first_test(celery_session_app):
    assert double.delay(5).get(timeout=100) == 10
"""

#: For itself: two workers at a time in one process share kombu's event loop, in life too.
IN_A_THREAD = """
import threading, time
from celery import shared_task
from celery.result import allow_join_result

@shared_task
def double(number):
    time.sleep(60)
    return 2 * number

def test_worker_in_a_thread(celery_app):
    worker = celery_app.Worker(app=celery_app, pool="solo", concurrency=1, hostname="localhost", quiet=True,
                               queues="mine", redirect_stdouts=False)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    result = double.apply_async((6,), queue="mine")
    while not result.ready():
        time.sleep(0.05)
    with allow_join_result():
        assert result.get(timeout=1) == 12
    worker.stop()
    thread.join(30)
    assert not thread.is_alive()
"""


@pytest.fixture
def suite(run, pytester):
    """Runs a suite with the drop-in switched on."""
    pytester.makeconftest(CONFTEST)

    def run_suite(text, *arguments):
        pytester.makepyfile(test_suite=text)
        return run("-o", "tasksim_dropin=true", "-W", "ignore", *arguments, subprocess=True)

    return run_suite


def test_a_suite_runs_unchanged_and_without_waiting(suite):
    result = suite(SUITE)
    result.assert_outcomes(passed=3)
    assert result.duration < 60
    suite(IN_A_THREAD).assert_outcomes(passed=1)


def test_one_seed_gives_one_trace_for_the_session(suite):
    text = (
        SUITE
        + """
def test_digest(tasksim_dropin):
    print("DIGEST", tasksim_dropin.seed, tasksim_dropin.trace.digest())
"""
    )
    runs = [suite(text, "-s", "--tasksim-seed", seed) for seed in ("1", "1", "2")]
    lines = [next(line for line in run.outlines if "DIGEST" in line) for run in runs]
    assert lines[0] == lines[1] != lines[2]


def test_a_failing_test_shows_what_happened(suite):
    result = suite(
        "def test_it(celery_app, celery_worker):\n    celery_app.tasks['celery.ping'].delay().get()\n    0 / 0"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*the last events of each process*", "*stored*ping*", "*again: pytest test_suite.py::test_it*"]
    )


def test_a_test_with_its_own_simulation_needs_room(suite):
    text = """
import pytest
from own import add

def test_before(celery_app):
    pass

@pytest.mark.tasksim("own:app")
def test_sim(sim):
    assert add.delay(1, 2).get() == 3

def test_session(celery_session_worker):
    pass

@pytest.mark.tasksim("own:app")
def test_no_room(sim):
    pass
"""
    result = suite(text)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*a world of its own*there still live: thread*"])


def test_without_the_key_nothing_is_simulated(run, pytester):
    pytester.makepyfile(
        test_it="import time\ndef test_it():\n    assert 'simulation' not in repr(__import__('threading').Lock())"
    )
    run(subprocess=True).assert_outcomes(passed=1)
    pytester.makepyfile(test_it="def test_it(tasksim_dropin):\n    pass")
    result = run(subprocess=True)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*tasksim_dropin = true*"])


def test_the_world_lets_through_whom_it_is_told(suite, pytester):
    pytester.makeini("[pytest]\ntasksim_allow = 127.0.0.1:9")
    text = """
import pytest, socket

def test_allowed():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9), 1)

def test_refused():
    socket.create_connection(("127.0.0.1", 10), 1)
"""
    result = suite(text)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*wants to connect to 127.0.0.1:10, outside of the simulation*"])


def test_the_world_begins_when_it_is_told(suite):
    text = """
import datetime

def test_it(tasksim_dropin):
    assert datetime.datetime.now(datetime.UTC).isoformat().startswith("2026-03-29T00:30:0")
"""
    suite(text, "-o", "tasksim_start=2026-03-29T02:30:00+02:00").assert_outcomes(passed=1)
    text = f"""
import time

def test_it(tasksim_dropin):
    assert 0 <= time.time() - {time.time()} < 300
"""
    suite(text, "-o", "tasksim_start=now").assert_outcomes(passed=1)


def test_a_start_that_is_no_instant_is_an_error(suite):
    for wrong in ("2026-03-29T02:30:00", "soon"):
        result = suite("def test_it():\n    pass", "-o", f"tasksim_start={wrong}")
        assert result.ret != 0
        result.stdout.fnmatch_lines([f"*tasksim_start = {wrong}: give an instant with an offset*"])


WRAPPED = """
import functools
import pytest
import celery.app.trace
from celery import shared_task

@shared_task
def double(number):
    return 2 * number

traced = []

@pytest.fixture(scope="session", autouse=True)
def instrumented():
    build_tracer = celery.app.trace.build_tracer

    @functools.wraps(build_tracer)
    def wrapped(name, task, *arguments, **options):
        traced.append(name)
        return build_tracer(name, task, *arguments, **options)

    celery.app.trace.build_tracer = wrapped
    yield
    celery.app.trace.build_tracer = build_tracer

def test_traced(instrumented, celery_session_worker):
    assert double.delay(2).get(timeout=10) == 4
    assert "test_suite.double" in traced
"""


def test_what_a_tool_wraps_before_the_first_worker_is_wrapped_for_all_of_celery(suite):
    """The world has imported the consumer by then, which took the function by its name; in life nobody has."""
    suite(WRAPPED).assert_outcomes(passed=1)


def test_a_connection_that_is_refused_names_the_ini_key(suite):
    result = suite("import socket\n\ndef test_it():\n    socket.create_connection(('127.0.0.1', 9))")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ConnectionRefused*allow it: `tasksim_allow = 127.0.0.1:9` in the ini file*"])
    result.stdout.no_fnmatch_line("*mark.tasksim(allow*")


def test_each_test_begins_with_nothing_published(suite):
    text = """
def test_first(celery_app, tasksim_dropin):
    celery_app.send_task("celery.ping", countdown=60)
    tasksim_dropin.assert_published("celery.ping", queue="celery", countdown=60, times=1)

def test_second(celery_app, tasksim_dropin):
    tasksim_dropin.assert_not_published("celery.ping")
    celery_app.send_task("celery.ping")
    tasksim_dropin.assert_published("celery.ping", countdown=None, times=1)
"""
    suite(text).assert_outcomes(passed=2)
