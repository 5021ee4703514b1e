"""Beside the plugins that a project is likely to have; each is installed with the extra `dev`."""

from __future__ import annotations

import pytest

#: `-p` takes the name of an entry point. asyncio has an option without which it warns.
ASYNCIO = ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function")

TASKS = """
import time

import pytest
from own import add, app

@app.task(shared=False)
def work(number):
    if number:
        found = number
    time.sleep(60)
    found = found + 1
    return found

@app.task(shared=False)
def spin():
    while True:
        pass

pytestmark = pytest.mark.tasksim(app="own:app")
"""


@pytest.fixture
def work(pytester):
    pytester.makepyfile(work=TASKS)


# --- the plugin itself, twice


@pytest.fixture
def loaded_by_itself(run, pytester, monkeypatch):
    """pytest loads the plugin by its entry point, as where tasksim is installed."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile(
        """
        import pytest
        from own import add

        @pytest.mark.tasksim(app="own:app")
        def test_sum():
            assert add.delay(1, 2).get() == 3
        """
    )
    info = pytester.mkdir("again-1.0.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: again\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\ntasksim = tasksim.pytest_entry\n")
    others = [
        "asyncio",
        "celery",
        "django",
        "docker_tools",
        "pytest_cov",
        "randomly",
        "timeout",
        "time_machine",
        "xdist",
    ]
    arguments = [word for name in others for word in ("-p", f"no:{name}")]
    return lambda *more: pytester.runpytest_subprocess(*arguments, *more, timeout=300)


@pytest.mark.parametrize("arguments", [(), ("-p", "tasksim.pytest_plugin"), ("-p", "tasksim")])
def test_naming_the_plugin_again_is_harmless(loaded_by_itself, arguments):
    loaded_by_itself("-W", "error", *arguments).assert_outcomes(passed=1)


def test_a_conftest_may_name_it_too(loaded_by_itself, pytester):
    pytester.makeconftest('pytest_plugins = ["tasksim.pytest_plugin"]')
    loaded_by_itself("-W", "error").assert_outcomes(passed=1)


def test_without_loading_by_itself_it_may_be_named_by_both_names(run, pytester):
    pytester.makepyfile("def test_nothing(): pass")
    run("-p", "tasksim", "-W", "error", subprocess=True).assert_outcomes(passed=1)


@pytest.mark.parametrize("name", ["tasksim", "tasksim.pytest_plugin"])
def test_by_each_of_its_names_it_is_switched_off(loaded_by_itself, name):
    result = loaded_by_itself("-p", f"no:{name}", "--help")
    result.stdout.no_fnmatch_line("*--tasksim-seed*")
    assert result.ret == 0


# --- pytest-asyncio


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_asyncio_waits_in_virtual_time(run, pytester, mode):
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    pytester.makepyfile(
        f"""
        import asyncio, time
        import pytest
        from work import add, pytestmark, work

        {mark}
        async def test_sleep(sim):
            result, before = work.delay(1), time.monotonic()
            await asyncio.sleep(3600)
            assert 3600 <= time.monotonic() - before < 3601
            assert result.state == "SUCCESS"

        {mark}
        async def test_look_again_and_again(sim):
            result = work.delay(1)
            while not result.ready():
                await asyncio.sleep(0.5)
            assert 60 <= sim.now < 61

        {mark}
        async def test_the_marker_alone():
            assert await asyncio.to_thread(work.delay(1).get, timeout=100) == 2

        {mark}
        async def test_a_time_limit(sim):
            work.delay(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await asyncio.sleep(10)
            assert 3 <= sim.now < 4
        """
    )
    run(*ASYNCIO, f"--asyncio-mode={mode}", "-W", "error", subprocess=True).assert_outcomes(passed=4)


@pytest.mark.usefixtures("work")
def test_one_loop_of_a_session_is_real_outside_and_virtual_inside(run, pytester):
    pytester.makepyfile(
        """
        import asyncio, time
        import pytest, pytest_asyncio
        from work import work

        session = pytest.mark.asyncio(loop_scope="session")
        inside = pytest.mark.tasksim(app="own:app")

        @pytest_asyncio.fixture(loop_scope="session")
        async def early():
            await asyncio.sleep(0.001)
            yield
            await asyncio.sleep(0.001)

        @pytest_asyncio.fixture(loop_scope="session")
        async def late(sim):
            await asyncio.sleep(100)
            yield
            await asyncio.sleep(100)

        async def real():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            assert 0.005 < time.monotonic() - before < 60

        @session
        async def test_before(early):
            await real()

        @session
        @inside
        async def test_inside(early, late, sim):
            work.delay(1)
            await asyncio.gather(asyncio.sleep(200), asyncio.sleep(300))
            assert 400 <= sim.now < 401

        @session
        async def test_after(early):
            await real()
            assert await asyncio.to_thread(lambda: 5) == 5

        @session
        @inside
        async def test_again(sim):
            assert await asyncio.to_thread(work.delay(1).get, timeout=100) == 2
        """
    )
    run(*ASYNCIO, "-W", "error", subprocess=True).assert_outcomes(passed=4)


# --- pytest-randomly


@pytest.mark.usefixtures("work")
def test_randomly_changes_neither_tasks_nor_traces_and_its_seed_is_part_of_the_line(run, pytester):
    pytester.makepyfile(
        """
        import random
        import pytest
        from work import app, pytestmark

        @app.task(shared=False, bind=True, autoretry_for=(OSError,), retry_backoff=10, max_retries=4)
        def flaky(self):
            raise OSError(random.random())

        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_delays(sim, number):
            flaky.delay()
            sim.run()
            print("digest", sim.trace.digest())

        def test_failing(sim):
            assert random.random() < 0
        """
    )
    digests = set()
    for seed in (1, 2):
        result = run("-p", "randomly", f"--randomly-seed={seed}", "-s", subprocess=True)
        result.assert_outcomes(passed=3, failed=1)
        result.stdout.fnmatch_lines([f"seed 0, again: pytest *::test_failing --tasksim-seed=0 --randomly-seed={seed}"])
        digests |= {line.partition("digest ")[2] for line in result.outlines if "digest " in line}
    assert len(digests) == 1


# --- pytest-cov


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("settings", ["", "concurrency = greenlet", "concurrency = thread,greenlet", "branch = true"])
def test_the_lines_of_a_task_after_its_waits_are_counted(run, pytester, settings):
    pytester.makepyfile(
        """
        from work import pytestmark, work

        def test_one(sim):
            assert work.delay(1).get() == 2

        def test_another(sim):
            assert work.delay(1).get() == 2
        """
    )
    (pytester.path / ".coveragerc").write_text(f"[run]\n{settings}\n")
    result = run("-p", "pytest_cov", "--cov=work", "--cov-report=term-missing", subprocess=True)
    result.assert_outcomes(passed=2)
    (row,) = [line for line in result.outlines if line.startswith("work.py")]
    missing = row.partition("%")[2].replace("->exit", "").split(", ")
    assert [one.strip() for one in missing if "->" not in one] == ["16-17"]  # the body of `spin`


def test_the_lines_of_threads_in_tasks_and_those_after_them_are_counted(run, pytester):
    pytester.makepyfile(
        threaded="""
        import threading, time
        from celery import Celery

        app = Celery("threaded", broker="amqp://", backend="cache+memory://")

        @app.task
        def work(number):
            found = []
            def inner():
                time.sleep(1)
                found.append(number)
            thread = threading.Thread(target=inner)
            thread.start()
            thread.join()
            time.sleep(1)
            return found
        """,
        test_threaded="""
        import pytest
        from threaded import work

        @pytest.mark.tasksim(app="threaded:app")
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(sim, number):
            assert work.delay(number).get() == [number]
        """,
    )
    result = run("-p", "pytest_cov", "--cov=threaded", "--cov-report=term-missing", "test_threaded.py", subprocess=True)
    result.assert_outcomes(passed=2)
    (row,) = [line for line in result.outlines if line.startswith("threaded.py")]
    assert row.split()[-1] == "100%"


# --- pytest-timeout


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("method", ["signal", "thread"])
@pytest.mark.parametrize("only", ["true", "false"])
def test_virtual_time_is_not_counted_by_timeouts(run, pytester, method, only):
    pytester.makepyfile(
        """
        import time
        from work import pytestmark, work

        def test_hour(sim):
            time.sleep(3600)
            assert work.delay(1).get() == 2
        """
    )
    limits = ("--timeout=600", "-o", f"timeout_method={method}", "-o", f"timeout_func_only={only}")
    run("-p", "timeout", *limits, subprocess=True).assert_outcomes(passed=1)


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("only", ["true", "false"])
def test_a_timeout_in_the_middle_of_a_task_ends_the_test_and_says_where(run, pytester, only):
    pytester.makepyfile(
        """
        import signal
        import pytest
        from work import pytestmark, spin, work

        def test_endless(sim):
            spin.delay().get()

        def test_next(sim):
            assert work.delay(1).get() == 2

        @pytest.mark.timeout(0)
        @pytest.mark.usefixtures("sim")
        def test_without_a_limit():
            assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        """
    )
    result = run(
        "-p", "timeout", "--timeout=5", "-o", "timeout_method=signal", "-o", f"timeout_func_only={only}",
        "--tb=short", subprocess=True,
    )  # fmt: skip
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*: in test_endless",
            "E*Timeout (>5.0s) from pytest-timeout.",
            "E*w1/1 was running then, at *work.py:*, in spin",
            "  work.spin[[]*] still runs on w1/1, since 0* s",
        ]
    )


@pytest.mark.usefixtures("work")
def test_a_timeout_in_a_thread_of_the_tests_own_ends_the_test(run, pytester):
    pytester.makepyfile(
        """
        import threading
        from work import pytestmark

        def endless():
            while True:
                pass

        def test_thread(sim):
            thread = threading.Thread(target=endless)
            thread.start()
            thread.join()
        """
    )
    result = run("-p", "timeout", "--timeout=3", "-o", "timeout_method=signal", subprocess=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*Timeout (>3.0s) from pytest-timeout."])


# --- Celery's own


@pytest.mark.usefixtures("work")
def test_fixtures_of_celery_contrib_go_on_beside_it(run, pytester):
    pytester.makepyfile(
        """
        import time
        import pytest
        from celery import shared_task

        @shared_task
        def multiply(one, other):
            time.sleep(3600)
            return one * other

        @pytest.fixture
        def celery_config():
            return {"broker_url": "memory://", "result_backend": "cache+memory://"}

        @pytest.mark.celery(task_time_limit=9000)
        class TestMoved:
            @pytest.fixture
            def tasksim_app(self, celery_app):
                return celery_app

            def test_app(self, sim):
                assert multiply.delay(2, 3).get(timeout=4000) == 6
                assert len(sim.trace.of(multiply).starts) == 1

            def test_worker_as_well(self, sim, celery_worker):
                assert multiply.delay(2, 3).get(timeout=4000) == 6

        def test_unmoved(celery_app):
            assert celery_app.conf.broker_url == "memory://"
        """
    )
    run("-p", "celery.contrib.pytest", "-W", "error", subprocess=True).assert_outcomes(passed=3)


@pytest.mark.usefixtures("work")
def test_with_everything_installed_that_a_project_may_have(run, pytester):
    pytester.makepyfile("from work import add, pytestmark\n\ndef test_sum(): assert add.delay(1, 2).get() == 3\n")
    others = [*ASYNCIO, "-p", "randomly", "-p", "pytest_cov", "-p", "timeout", "-p", "xdist", "-p", "docker_tools"]
    result = run(*others, "-p", "celery", "-p", "no:django", "--strict-markers", "-n2", "--cov=work", subprocess=True)
    result.assert_outcomes(passed=1)
