"""django-celery-results: the stories of tests/backends on Django's own store, in an interpreter of its own."""

import shutil
from pathlib import Path

import pytest

from tests.backends.stories import STORIES

SITE = Path(__file__).parent / "django_results"


@pytest.mark.parametrize("database", ["memory", "file"])
def test_results_in_djangos_database(pytester, monkeypatch, database):
    shutil.copytree(SITE, pytester.path, dirs_exist_ok=True)
    monkeypatch.setenv("DATABASE", database)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    plugins = ["-p", "tasksim.pytest_plugin", "-p", "django", "-p", "no:cacheprovider"]
    result = pytester.runpytest_subprocess("check_results.py", *plugins, timeout=600)
    result.assert_outcomes(passed=len(STORIES) + 3)
