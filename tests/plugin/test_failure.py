"""What a failing test says: the last events, and the line that repeats the run."""

import pytest

FAILING = """
import pytest
from own import add

@pytest.mark.tasksim(app="own:app")
def test_sum(sim):
    assert add.delay(1, 2).get() == 4
"""


@pytest.fixture
def failing(pytester):
    pytester.makepyfile(test_failing=FAILING)


@pytest.mark.usefixtures("failing")
def test_a_failing_test_shows_the_last_events_and_how_to_repeat_it(run):
    result = run("--tasksim-seed=12")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*assert 3 == 4",
            "E*seed 12, again: pytest test_failing.py::test_sum --tasksim-seed=12",
            "*- Captured tasksim call -*",
            "what broke:",
            "  nothing in the task system: what was published came to its end",
            "in all: 1 published, 1 delivered, 1 started, 1 succeeded; * virtual seconds",
            "the last events of each process, at 0* s:",
            "*published*add*",
            "*started*add*",
            "all * events: */tasksim/test_failing.py-test_sum-*.jsonl",
            "seed 12, again: pytest test_failing.py::test_sum --tasksim-seed=12",
        ]
    )


@pytest.mark.usefixtures("failing")
def test_the_section_is_short(run):
    lines = run().stdout.lines
    first = next(place for place, line in enumerate(lines) if "Captured tasksim call" in line)
    last = next(place for place, line in enumerate(lines) if place > first and line.startswith("seed 0, again: "))
    assert last - first <= 60


@pytest.mark.usefixtures("failing")
def test_the_report_for_other_tools_has_the_line_too(run, pytester):
    run("--junitxml=report.xml")
    assert "again: pytest test_failing.py::test_sum --tasksim-seed=0" in (pytester.path / "report.xml").read_text()


def test_a_name_with_spaces_is_quoted_for_the_shell(run, pytester):
    pytester.makepyfile(
        test_names="""
        import pytest

        @pytest.mark.tasksim(app="own:app")
        @pytest.mark.parametrize("name", ["a b"])
        def test_name(name, sim):
            assert not name
        """
    )
    run().stdout.fnmatch_lines(["seed 0, again: pytest 'test_names.py::test_name[[]a b]' --tasksim-seed=0"])


@pytest.mark.usefixtures("failing")
def test_the_line_works_where_pytest_was_started(run, pytester, monkeypatch):
    folder = pytester.mkdir("deep")
    monkeypatch.chdir(folder)
    result = run(f"--rootdir={pytester.path}", "../test_failing.py")
    result.stdout.fnmatch_lines(["seed 0, again: pytest ../test_failing.py::test_sum --tasksim-seed=0"])


def test_passing_and_skipped_tests_and_tests_without_the_fixture_say_nothing(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tasksim(app="own:app")
        def test_good(sim): pass

        @pytest.mark.tasksim(app="own:app")
        def test_skipped(sim): pytest.skip("today")

        def test_bad(): assert 0
        """
    )
    result = run("-rA")
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    result.stdout.no_fnmatch_line("*tasksim call*")
    result.stdout.no_fnmatch_line("*again: *")


def test_a_fixture_that_fails_in_the_simulation_is_explained_as_well(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from own import add

        @pytest.fixture
        def total(sim):
            assert add.delay(1, 2).get() == 4

        @pytest.mark.tasksim(app="own:app")
        def test_total(total): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Captured tasksim setup*", "seed 0, again: pytest *::test_total --tasksim-seed=0"])


def test_a_fixture_that_publishes_too_early_is_told_so(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from celery import Celery

        app = Celery("own", broker="amqp://127.0.0.1:1//", backend="cache+memory://")
        app.conf.task_publish_retry = False

        @app.task(shared=False)
        def add(a, b):
            return a + b

        @pytest.fixture
        def early():
            return add.delay(1, 2)

        @pytest.mark.tasksim(app=app)
        def test_early(early, sim): pass

        @pytest.fixture
        def late(sim):
            return add.delay(1, 2)

        @pytest.mark.tasksim(app=app)
        def test_late(late, sim):
            assert late.get() == 3
        """
    )
    result = run()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["E*OperationalError*", "E*Let the fixture ask for `sim`, or name `sim` before it."])


def test_with_given_the_error_says_what_to_write_instead(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from hypothesis import given, strategies

        @pytest.mark.tasksim(app="own:app")
        @given(number=strategies.integers())
        def test_numbers(sim, number): pass
        """
    )
    run("-p", "_hypothesis_pytestplugin").stdout.fnmatch_lines(
        ["*Write `with tasksim.Simulation(app) as sim:` in its body*"]
    )


# --- tests broken on purpose: what a tired person has to go by

BROKEN = """
import time

import pytest
from own import add, app

@app.task(shared=False)
def price(order):
    return {1: 10}[order]

@app.task(shared=False)
def forever():
    while True:
        time.sleep(1)

@app.task(shared=False)
def slow():
    time.sleep(30)

@app.task(shared=False, queue="reports")
def report():
    pass

@app.task(shared=False)
def opens():
    return open

@app.task(shared=False, bind=True)
def flaky(self):
    raise self.retry(exc=OSError("gateway down"), countdown=60)

pytestmark = pytest.mark.tasksim(app="own:app")
"""

CASES = {
    "an_exception_in_a_task": (
        "result = price.delay(7); sim.run(); assert result.state == 'SUCCESS'",
        ["  *price[[]*] failed at 0* s on w1/1: KeyError: 7 (test_broken.py:8, in price)"],
    ),
    "a_wrong_result": ("assert add.delay(1, 2).get() == 4", ["E*assert 3 == 4", "  nothing in the task system*"]),
    "a_task_that_never_ends": (
        "forever.delay(); sim.run()",
        ["E*Stuck: nothing has happened for 14400 virtual seconds*", "  *forever[[]*] still runs on w1/1, since 0* s"],
    ),
    "a_limit": (
        "slow.delay(); sim.run(limit=5)",
        ["E*Stuck: run(limit=5)*", "E*w1/1 runs *slow[[]*", "  *slow* still runs*"],
    ),
    "a_task_that_nobody_knows": (
        "app.send_task('own.ad').get(timeout=9)",
        ["E*NotRegistered: 'own.ad'", "  own.ad[[]*]: w1 knows no such task; did you mean own.add?"],
    ),
    "a_worker_killed": (
        "result = slow.delay(); sim.kill(worker='w1', at=2); sim.run(); assert result.state == 'SUCCESS'",
        [
            "  nothing_lost: *slow[[]*] ran on w1 when that was killed at 2 s; acknowledged, it will not run again*",
            "  worker w1 is down since 2 s: killed by SIGKILL",
            "2*FAULT*kill w1*",
        ],
    ),
    "a_result_that_never_comes": (
        "result = slow.delay(); sim.kill(worker='w1', at=2); result.get()",
        ["test_broken.py:*: in test_broken", "E*NothingLeftToDo: the test has waited*", "  nothing_lost: *slow*"],
    ),
    "a_queue_without_a_worker": (
        "report.delay().get()",
        [
            "E*report[[]*last seen at 0* s: Queued in reports, which no worker consumes",
            "  *report[[]*no worker consumes that queue (they*",
        ],
    ),
    "a_timeout": (
        "slow.delay().get(timeout=2)",
        ["E*TimeoutError: The operation timed out.", "  *slow[[]*] still runs on w1/1*", "*process, at 2* s:"],
    ),
    "a_retry_not_waited_for": (
        "flaky.delay().get(timeout=20)",
        ["  *flaky[[]*] waits in w1 for retry 1, at 60* s: Retry in 60s: OSError('gateway down')"],
    ),
    "a_result_that_cannot_be_sent": (
        "opens.delay().get()",
        ["  *opens[[]*] failed at * EncodeError: *not JSON serializable*"],
    ),
    "an_argument_that_cannot_be_sent": (
        "add.delay(object(), 1)",
        ["E*EncodeError: Object of type object is not JSON serializable", "  nothing in the task system: no task was*"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_failure_is_understood_from_the_output_alone(run, pytester, case):
    body, wanted = CASES[case]
    pytester.makepyfile(test_broken=f"{BROKEN}\ndef test_broken(sim):\n    {body}\n")
    result = run("-q", "--tb=short")
    result.assert_outcomes(failed=1)
    again = "seed 0, again: pytest test_broken.py::test_broken --tasksim-seed=0"
    result.stdout.fnmatch_lines([*wanted, again])
    text = result.stdout.str()
    assert text.count(f"\nE   {again}\n") == text.count(f"\n{again}\n") == 1
    assert "/tasksim/kernel/" not in text


def test_on_a_ci_server_the_summary_repeats_the_replay_line(run, pytester, monkeypatch):
    """There pytest does not cut the summary's messages (`_pytest.terminal`, `running_on_ci`)."""
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(test_broken=f"{BROKEN}\ndef test_broken(sim):\n    assert add.delay(1, 2).get() == 4\n")
    result = run("-q", "--tb=short")
    result.assert_outcomes(failed=1)
    again = "seed 0, again: pytest test_broken.py::test_broken --tasksim-seed=0"
    result.stdout.fnmatch_lines([f"E   {again}", again, "*short test summary*", "FAILED *", again, "1 failed*"])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("kafka://host", "UnsupportedError: the broker kafka:// is not simulated; give one whose rules come closest*"),
        (
            "valkey://host",
            "UnsupportedError: the broker valkey:// is not simulated; give one whose rules come closest*",
        ),
        ("amqp//me:secret@host", "UsageError: the broker URL 'amqp//*@host' names no transport; write amqp://USER*"),
    ],
)
def test_a_wrong_broker_is_one_frame_and_a_sentence(run, pytester, url, words):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.tasksim(app="own:app", broker="{url}")
        def test_nothing(sim): pass
        """
    )
    result = run("-q", "--tb=short")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"E*{words}"])
    assert "_pytest" not in result.stdout.str()


def test_the_whole_traceback_is_there_for_who_asks(run, pytester):
    pytester.makepyfile("def test_nothing(sim): sim.run(until='tomorrow')")
    pytester.makeini("[pytest]\ntasksim_app = own:app\npythonpath = .\n")
    assert "/tasksim/driving/timing.py" not in run("--tb=short").stdout.str()
    assert "/tasksim/driving/timing.py" in run("--full-trace").stdout.str().replace("\\", "/")


# --- the trace


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    ("arguments", "ini", "folder"),
    [
        ((), "", "base/tasksim"),
        ((), "tasksim_traces = kept", "kept"),
        (("--tasksim-traces=out/here",), "tasksim_traces = kept", "out/here"),
    ],
)
def test_the_trace_is_a_file_that_can_be_read_and_checked(run, pytester, arguments, ini, folder):
    from tasksim.events import Succeeded
    from tasksim.trace import Trace

    pytester.makeini(f"[pytest]\n{ini}\n")
    base = pytester.path / "base"
    result = run(f"--basetemp={base}", *arguments)
    (path,) = (pytester.path / folder).iterdir()
    assert path.name.startswith("test_failing.py-test_sum-")
    result.stdout.fnmatch_lines([f"all * events: {path}"])
    trace = Trace.load(path)
    assert trace.metadata == {"seed": 0, "test": "test_failing.py::test_sum"}
    assert len(trace.where(Succeeded)) == 1


@pytest.mark.usefixtures("failing")
def test_a_folder_that_cannot_be_written_spoils_nothing(run, pytester):
    (pytester.path / "taken").write_text("a file")
    run("--tasksim-traces=taken").stdout.fnmatch_lines(["all * events: not written (*)", "seed 0, again: *"])


def test_the_files_of_two_tests_are_two(pytestconfig, tmp_path):
    from tasksim.pytest_failure import trace_file

    names = ["t.py::test[a b]", "t.py::test[a/b]", "t.py::test", "t/py::test", "x" * 300, "x" * 301, "t.py-test"]
    files = [trace_file(pytestconfig, tmp_path, name) for name in names]
    assert len(set(files)) == len(names)
    assert max(len(file.name) for file in files) < 130


def test_a_session_keeps_no_simulation(run, pytester):
    pytester.makepyfile(
        """
        import gc
        import pytest

        @pytest.mark.tasksim(app="own:app")
        def test_one(sim): sim.run()

        def test_two():
            from tasksim import Simulation
            gc.collect()
            assert not [one for one in gc.get_objects() if type(one) is Simulation]
        """
    )
    run(subprocess=True).assert_outcomes(passed=2)


def test_an_error_that_is_raised_again_and_again_says_its_line_once(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        error = ValueError("mine")

        @pytest.mark.tasksim(app="own:app")
        @pytest.mark.parametrize("number", [1, 2])
        def test_one(sim, number):
            raise error

        @pytest.mark.tasksim(app="own:app")
        def test_last(sim):
            raise error
        """
    )
    result = run()
    for name in ("test_one[[]1]", "test_one[[]2]", "test_last"):
        result.stdout.fnmatch_lines([f"E*again: pytest *{name}* --tasksim-seed=0"])
    assert result.stdout.str().count("E       seed 0, again: ") == 3


def test_a_test_that_opens_its_simulation_itself_says_the_same(run, pytester):
    pytester.makepyfile(
        test_direct="""
        import pytest
        from tasksim import Simulation
        from own import add, app

        def test_within():
            with Simulation(app, seed=3):
                assert add.delay(1, 2).get() == 4

        def test_after_the_second():
            for seed in 1, 2:
                with Simulation(app, seed=seed) as sim:
                    add.delay(1, "two")
                    sim.run()
            assert False

        def test_of_another_world():
            assert False
        """
    )
    result = run("--tasksim-seed=9")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "E*assert 3 == 4",
            "E*seed 3, again: pytest test_direct.py::test_within",
            "*- Captured tasksim call -*",
            "what broke:",
            "  nothing in the task system: what was published came to its end",
            "the last events of each process, at 0* s:",
            "all * events: */tasksim/test_direct.py-test_within-*.jsonl",
            "seed 3, again: pytest test_direct.py::test_within",
            "E*seed 2, again: pytest test_direct.py::test_after_the_second",
            "*- Captured tasksim call -*",
            "of the 2 simulations of this test, the last:",
            "what broke:",
            "  own.add* failed at 0* s on w1/*: TypeError: *",
            "seed 2, again: pytest test_direct.py::test_after_the_second",
        ]
    )
    assert not [line for line in result.stdout.lines if "again" in line and "another_world" in line]


def test_the_simulation_of_a_fixture_of_ones_own_is_told_of_in_each_test_that_it_serves(run, pytester):
    pytester.makepyfile(
        test_shared="""
        import pytest
        from tasksim import Simulation
        from own import add, app

        @pytest.fixture(scope="module")
        def world():
            with Simulation(app) as sim:
                yield sim

        def test_one(world):
            assert add.delay(1, 2).get() == 4

        def test_two(world):
            assert add.delay(1, 2).get() == 5
        """
    )
    result = run()
    result.assert_outcomes(failed=2)
    lines = [line for line in result.stdout.lines if line.startswith("seed 0, again: ")]
    assert lines == [f"seed 0, again: pytest test_shared.py::test_{name}" for name in ("one", "two")]


def test_a_property_test_tells_of_its_smallest_case(run, pytester):
    pytester.makepyfile(
        test_drawn="""
        from hypothesis import given, settings, strategies as st
        from tasksim import Simulation
        from own import add, app

        @settings(max_examples=20, database=None, derandomize=True, deadline=None)
        @given(st.integers(0, 50))
        def test_small(number):
            with Simulation(app):
                assert add.delay(number, 0).get() < 7
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*number=7*",
            "of the * simulations of this test, the last:",
            "seed 0, again: pytest test_drawn.py::test_small",
        ]
    )


def test_a_failed_scenario_tells_its_story_once(run, pytester):
    pytester.makefile(".yaml", sums="version: 1\napp: own:app\ncalls:\n- {task: own.add, args: [1, 2], id: sum}\n"
                      "expect:\n- {task: sum, result: 4}\n")  # fmt: skip
    result = run("sums.yaml")
    result.assert_outcomes(failed=1)
    assert "Captured tasksim" not in result.stdout.str()


def test_what_was_found_where_nothing_should_be_is_told_in_whole(run, pytester):
    pytester.makepyfile(
        test_found="""
        from tasksim import compare_eager
        from own import add, app

        def order():
            add.apply_async(((1,), (2,)), countdown=30)

        def test_eager_mode_hides_nothing():
            assert compare_eager(app, order) == []

        def test_other_lists_are_pytests():
            assert [1] == []
        """
    )
    result = run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*nothing should be found, and there is (*",
            "E*countdown: own.add(*a worker waits 30 s*",
            "E*assert [[]1] == *",
        ]
    )


def test_a_failure_that_was_expected_is_not_explained(run, pytester, monkeypatch):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.xfail
        @pytest.mark.tasksim(app="own:app")
        def test_known(sim): assert 0

        @pytest.mark.xfail(raises=KeyError)
        @pytest.mark.tasksim(app="own:app")
        def test_other(sim): assert 0
        """
    )
    result = run("-rxX")
    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["*seed 0, again: pytest *::test_other*"])
    result.stdout.no_fnmatch_line("*again: pytest *::test_known*")
    result = run("--runxfail")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*seed 0, again: pytest *::test_known*"])


def test_a_failure_of_pytests_own_does_not_end_the_session(run, pytester):
    pytester.makepyfile(
        test_scope="""
        import pytest
        from own import app

        pytestmark = pytest.mark.tasksim(app)

        def test_one(sim): pass

        @pytest.fixture(scope="module")
        def workers(sim):
            return sim.workers

        def test_two(workers): pass

        def test_three(sim): pass
        """
    )
    run().assert_outcomes(passed=2, errors=1)


def test_an_error_of_which_nothing_can_be_told_does_not_end_the_session(run, pytester):
    pytester.makepyfile(
        test_odd="""
        import pytest
        from own import app

        class Odd(Exception):
            def add_note(self, text):
                raise RuntimeError("no notes")

        @pytest.mark.tasksim(app)
        def test_odd(sim):
            raise Odd

        def test_after(): pass
        """
    )
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["what broke cannot be told: RuntimeError('no notes')"])


def test_the_section_tells_reasons_that_only_a_log_or_a_swallowed_error_had(run, pytester):
    pytester.makepyfile(
        test_reasons="""
        import socket
        import pytest
        from celery import Celery

        app = Celery("own", broker="amqp://", backend="rpc://", set_as_current=False)

        @app.task(name="swallow", shared=False)
        def swallow():
            try:
                socket.create_connection(("smtp.example.com", 25))
            except OSError:
                return None

        pytestmark = pytest.mark.tasksim(app)

        def test_a_worker_that_holds_a_message_for_too_long(sim):
            swallow.apply_async(countdown=4000)
            sim.run()
            assert False

        def test_a_connection_that_was_refused(sim):
            assert swallow.delay().get() == 1

        def test_a_queue_without_a_worker(sim):
            swallow.apply_async(queue="gpu").get(timeout=60)
        """
    )
    run().stdout.fnmatch_lines(
        [
            "  worker w1 is down since * s: exit code 1, PreconditionFailed(406, *delivery acknowledgement*",
            "  w1/1 wanted to connect to smtp.example.com:25, which was refused; to allow it: *allow=*",
            '*no worker consumes that queue (they consume celery; with queues="celery,gpu" they would)',
        ]
    )


@pytest.mark.parametrize("error", ["SystemExit(3)", "GeneratorExit", "type('Own', (BaseException,), {})"])
def test_what_is_no_exception_is_a_failure_all_the_same(run, pytester, error):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.tasksim(app="own:app")
        def test_broken(sim):
            raise {error}
        """
    )
    result = run("-q", "--tb=short")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*seed 0, again: pytest *test_broken*"])
