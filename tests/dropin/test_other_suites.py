"""The script that runs other packages' suites: a small package of its own layout, as a checkout and as an archive."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

TASKS = """
from celery import shared_task

@shared_task
def twice(number):
    return 2 * number
"""

TESTS = """
import time
import pytest
from leaf.tasks import twice

pytest_plugins = ("celery.contrib.pytest",)

def test_an_hour(celery_session_worker):
    began = time.monotonic()
    assert twice.apply_async((21,), countdown=3600).get(timeout=4000) == 42
    assert time.monotonic() - began > 3600

@pytest.mark.skip(reason="not today")
def test_skipped():
    pass
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import other_suites
    return other_suites


@pytest.fixture
def checkout(tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "leaf-1.0/src/leaf/tasks.py": TASKS, "leaf-1.0/tests/test_leaf.py": TESTS, "leaf-1.0/pytest.ini": "[pytest]\n",
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(script, "FOLDER", tmp_path / "build")
    monkeypatch.setattr(script, "make_environment", lambda folder, requirements: Path(sys.executable))
    return tmp_path / "leaf-1.0"


@pytest.mark.parametrize("packed", [False, True])
def test_a_package_that_nobody_has_told_of_is_run_from_a_path(
    script: ModuleType, checkout: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, outcomes = checkout, checkout.parent / "outcomes.json"
    if packed:
        path = checkout.parent / "leaf-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            tar.add(checkout, "leaf-1.0")
    arguments = ["other_suites.py", "--package", "leaf", "--path", str(path), "--json", str(outcomes), "--", "tests"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert script.main() == 0
    rows = json.loads(outcomes.read_text())
    assert sorted((row["test"], row["outcome"], row["reason"]) for row in rows) == [
        ("tests/test_leaf.py::test_an_hour", "passed", ""),
        ("tests/test_leaf.py::test_skipped", "skipped", "not today"),
    ]


def test_what_cannot_be_had_is_said(
    script: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["other_suites.py", "--package", "leaf"])
    assert script.main() == 2
    assert "leaf is not in the table of this script: give a checkout of it with --path" in capsys.readouterr().err
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: subprocess.CompletedProcess((), 128))
    monkeypatch.setattr(sys, "argv", ["other_suites.py", "--package", "celery-singleton"])
    assert script.main() == 2
    assert "could not be cloned at 0.3.1; give a checkout of it: --path" in capsys.readouterr().err


def test_a_test_is_left_out_by_its_name_and_no_other_one(script: ModuleType) -> None:
    plugin = sys.modules["suite_plugin"]
    reasons = {"test_a.py::": "file", "test_b.py::test_it": "test"}
    assert plugin.not_served("test_a.py::test_x[1]", reasons) == "file"
    assert plugin.not_served("test_b.py::test_it[1]", reasons) == "test"
    assert plugin.not_served("test_b.py::test_it_too", reasons) is None
