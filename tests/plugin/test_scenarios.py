"""Scenario files as tests of pytest."""

from __future__ import annotations

import pytest

STORY = """\
# A comment may stand first.
version: 1
app: shop.celery:app
setup: [shop.reset]
calls:
  - {task: shop.tasks.charge, args: [7], id: pay}
expect:
  - {task: pay, state: STATE}
"""


@pytest.fixture
def story(pytester):
    """Write a scenario file; gives its path as text."""

    def write(path: str, state: str = "SUCCESS") -> str:
        file = pytester.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(STORY.replace("STATE", state))
        return path

    return write


def test_files_in_the_folders_of_the_ini_file_are_tests(run, pytester, story):
    pytester.makeini("[pytest]\ntasksim_scenarios = stories")
    story("stories/one.yaml")
    story("stories/deep/two.yml")
    story("elsewhere/three.yaml")
    (pytester.path / "stories" / "compose.yaml").write_text('services: {}\nversion: "3"\n')
    run("-v").assert_outcomes(passed=2)


def test_a_file_that_is_named_is_a_test_without_an_ini_file(run, story):
    run(story("one.yaml")).assert_outcomes(passed=1)


def test_nothing_is_guessed(run, story):
    story("one.yaml")
    assert run(".").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_file_that_is_no_scenario_is_none_although_it_is_named(run, pytester):
    (pytester.path / "other.yaml").write_text("name: version\n")
    assert run("other.yaml").ret == pytest.ExitCode.USAGE_ERROR


def test_what_does_not_hold_is_shown_with_its_line_the_last_events_and_how_to_repeat_it(run, story):
    result = run(story("stories/one.yaml", state="FAILURE"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "stories/one.yaml:8: `pay`: expected state FAILURE, found SUCCESS",
            "the last events of each process, at * s:",
            "*w1/1*finished*charge*SUCCESS*",
            "again: tasksim run stories/one.yaml --seed 0",
        ]
    )


def test_the_seed_of_the_session_wins_over_the_files(run, story):
    result = run(story("one.yaml", state="FAILURE"), "--tasksim-seed=5")
    result.stdout.fnmatch_lines(["again: tasksim run one.yaml --seed 5"])


def test_a_file_that_cannot_be_run_says_why(run, pytester):
    (pytester.path / "broken.yaml").write_text("version: 1\napp: shop.celery:app\ncals: []\n")
    result = run("broken.yaml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["broken.yaml:3: unknown key `cals` in the scenario; did you mean `calls`?"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    "folders", ["one two 'with space'", "\n    one\n    two\n    'with space'", "\n    one two\n    'with space'"]
)
def test_folders_stand_in_one_line_or_in_several(run, pytester, story, folders):
    pytester.makeini(f"[pytest]\ntasksim_scenarios = {folders}")
    for folder in ("one", "two", "with space", "three"):
        story(f"{folder}/story.yaml")
    run().assert_outcomes(passed=3)


def test_a_folder_that_is_not_there_is_named_with_its_ini_key(run, pytester, story):
    pytester.makeini("[pytest]\ntasksim_scenarios = stories nowhere")
    story("stories/one.yaml")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = f"*the ini key tasksim_scenarios names {pytester.path / 'nowhere'}, and there is no such folder*"
    result.stderr.fnmatch_lines([told])


@pytest.mark.parametrize("beginning", ["\ufeff", "%YAML 1.1\n---\n", "--- # a story\n", "\r\n# comment\r\n"])
def test_a_file_that_can_be_run_is_a_test_however_it_begins(run, pytester, beginning):
    text = beginning + STORY.replace("STATE", "SUCCESS")
    (pytester.path / "one.yaml").write_text(text, encoding="utf-8", newline="")
    run("one.yaml").assert_outcomes(passed=1)


def test_the_key_that_says_so_may_be_quoted(run, pytester):
    text = STORY.replace("STATE", "SUCCESS").replace("version:", '"version":')
    (pytester.path / "one.yaml").write_text(text)
    run("one.yaml").assert_outcomes(passed=1)


def test_a_scenario_that_fails_does_so_beside_a_plugin_that_asks_for_its_fixtures(run, pytester, story):
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            assert "request" not in item.funcargs  # as pytest-docker-tools asks
            return report
        """
    )
    run(story("one.yaml", state="FAILURE")).assert_outcomes(failed=1)
