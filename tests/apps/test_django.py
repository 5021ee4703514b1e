"""A Django project's own suite, in an interpreter of its own: Django is set up once and for all in a process."""

import shutil
from pathlib import Path

import pytest

SITE = Path(__file__).parent / "django_site"


@pytest.mark.parametrize("broker", ["amqp://", "redis://"])
@pytest.mark.parametrize("database", ["memory", "file"])
def test_a_django_projects_suite(pytester, monkeypatch, broker, database):
    shutil.copytree(SITE, pytester.path, dirs_exist_ok=True)
    monkeypatch.setenv("BROKER", broker)
    monkeypatch.setenv("DATABASE", database)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    plugins = ["-p", "tasksim.pytest_plugin", "-p", "django", "-p", "no:cacheprovider"]
    result = pytester.runpytest_subprocess("check_notes.py", "check_transactions.py", *plugins, timeout=600)
    in_file_only = 0 if database == "file" else 4
    result.assert_outcomes(passed=24 - in_file_only, skipped=2 + in_file_only)


UNCAPTURED = """
    import pytest
    from notes import tasks

    @pytest.mark.django_db
    def test_it(sim):
        tasks.count.delay_on_commit()
        sim.run()
        assert sim.trace.where("Published")
"""


def test_a_commit_that_never_comes_is_named_in_the_report(pytester, monkeypatch):
    shutil.copytree(SITE, pytester.path, dirs_exist_ok=True)
    pytester.makepyfile(check_it=UNCAPTURED)
    for name, value in {"BROKER": "amqp://", "DATABASE": "memory", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    plugins = ["-p", "tasksim.pytest_plugin", "-p", "django", "-p", "no:cacheprovider"]
    result = pytester.runpytest_subprocess("check_it.py", *plugins, timeout=600)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1 callback of transaction.on_commit (delay_on_commit) did not fire*",
                                 "*django_capture_on_commit_callbacks*transaction=True*"])  # fmt: skip
