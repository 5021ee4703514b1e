"""What the plugin says of itself, and where the seed comes from."""

from inspect import signature

import pytest

from tasksim.pytest_plugin import MARKER
from tasksim.simulation import Simulation

NO_TEST = "def test_nothing(): pass"


def test_the_help_names_the_option_and_the_ini_keys(run):
    run("--help").stdout.fnmatch_lines(
        [
            "simulated Celery:",
            "*--tasksim-seed=N*",
            "*--tasksim-traces=DIR*",
            "*tasksim_app*the Celery app*",
            "*tasksim_seed*",
            "*tasksim_traces*",
            "*tasksim_scenarios*",
        ],
        consecutive=False,
    )


def test_the_markers_show_the_whole_signature(run):
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.tasksim(app=None, [*][*]options): run the test in*"])


def test_the_signature_in_the_marker_is_that_of_the_simulation():
    names = [name for name in signature(Simulation).parameters if name not in ("self", "app")]
    assert f"tasksim.Simulation: {', '.join(names)}." in MARKER


def test_without_a_seed_the_header_is_silent(run, pytester):
    pytester.makepyfile(NO_TEST)
    run().stdout.no_fnmatch_line("tasksim: *")


def test_with_v_the_header_names_the_default(run, pytester):
    pytester.makepyfile(NO_TEST)
    run("-v").stdout.fnmatch_lines(["tasksim: seed=0 (default)"])


@pytest.mark.parametrize(
    ("arguments", "environment", "ini", "line"),
    [
        (["--tasksim-seed=3"], "4", "5", "tasksim: seed=3 (from --tasksim-seed)"),
        (["--tasksim-seed=0"], "4", "5", "tasksim: seed=0 (from --tasksim-seed)"),
        ([], "4", "5", "tasksim: seed=4 (from TASKSIM_SEED)"),
        ([], "", "5", "tasksim: seed=5 (from the ini file)"),
    ],
)
def test_the_option_wins_over_the_environment_and_that_over_the_ini_file(
    run, pytester, monkeypatch, arguments, environment, ini, line
):
    pytester.makepyfile(NO_TEST)
    pytester.makeini(f"[pytest]\ntasksim_seed = {ini}\n")
    monkeypatch.setenv("TASKSIM_SEED", environment)
    run(*arguments).stdout.fnmatch_lines([line])


def test_a_seed_that_is_no_number_is_a_usage_error(run, pytester, monkeypatch):
    pytester.makepyfile(NO_TEST)
    monkeypatch.setenv("TASKSIM_SEED", "lucky")
    result = run()
    result.stderr.fnmatch_lines(["ERROR: the seed in TASKSIM_SEED must be a whole number, not 'lucky'"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_plugin_can_be_switched_off(run, pytester):
    pytester.makepyfile(NO_TEST)
    result = run("-p", "no:tasksim.pytest_plugin", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("tasksim: *")


def test_a_run_without_the_fixture_imports_no_engine(run, pytester):
    pytester.makepyfile(
        """
        import sys

        def test_modules():
            heavy = {"celery", "kombu", "redis", "fakeredis", "freezegun", "greenlet", "yaml", "tasksim.simulation"}
            assert heavy.isdisjoint(sys.modules)
        """
    )
    run(subprocess=True).assert_outcomes(passed=1)


def test_the_marker_is_registered_for_strict_runs(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from own import app, add

        @pytest.mark.tasksim(app=app)
        def test_sum():
            assert add.delay(1, 2).get() == 3
        """
    )
    run("--strict-markers", "--strict-config", "-W", "error", subprocess=True).assert_outcomes(passed=1)
