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
    result = pytester.runpytest_subprocess("check_notes.py", *plugins, timeout=600)
    in_file_only = 0 if database == "file" else 2
    result.assert_outcomes(passed=13 - in_file_only, skipped=in_file_only)
