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
            "E*again: pytest test_failing.py::test_sum --tasksim-seed=12",
            "*- Captured tasksim call -*",
            "the last events of each process, until 0.* s:",
            "*published*add*",
            "*started*add*",
            "again: pytest test_failing.py::test_sum --tasksim-seed=12",
        ]
    )


@pytest.mark.usefixtures("failing")
def test_the_section_is_short(run):
    lines = run().stdout.lines
    first = next(place for place, line in enumerate(lines) if "Captured tasksim call" in line)
    last = next(place for place, line in enumerate(lines) if place > first and line.startswith("again: "))
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
    run().stdout.fnmatch_lines(["again: pytest 'test_names.py::test_name[[]a b]' --tasksim-seed=0"])


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
    result.stdout.fnmatch_lines(["*Captured tasksim setup*", "again: pytest *::test_total --tasksim-seed=0"])


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
