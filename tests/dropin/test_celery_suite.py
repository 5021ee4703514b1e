"""The script that runs Celery's own integration tests: what it says of a suite, shown with one of six tests."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts" / "celery_suite.py"

SUITE = """
import os, time
import pytest

@pytest.fixture
def broken():
    raise OSError("no such thing")

def test_passes():
    began = time.monotonic()
    time.sleep(3600)
    assert time.monotonic() - began >= 3600
    assert (os.environ["TEST_BROKER"], os.environ["TEST_BACKEND"]) == ("redis://", "rpc")

def test_fails():
    assert not "so"

def test_breaks(broken):
    pass

@pytest.mark.skip(reason="not today")
def test_skips():
    pass

@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    assert not "so"

@pytest.mark.xfail(reason="mended", strict=False)
def test_passes_unexpectedly():
    pass
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("celery_suite", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PATH.parent))
        spec.loader.exec_module(module)
    return module


def test_it_tells_what_became_of_each_test(script: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "t" / "integration"
    folder.mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, text in {"test_small.py": SUITE, "test_connection_recovery.py": "def test_it():\n    assert 0\n"}.items():
        (folder / name).write_text(text)
    began = time.monotonic()
    rows = [
        row
        for name in ("test_small.py", "test_connection_recovery.py")
        for row in script.run_file(Path(sys.executable), tmp_path, name, "redis", "rpc", 0)
    ]
    assert time.monotonic() - began < 300
    found = {row["test"].partition("::")[2] or row["test"]: (row["outcome"], row["reason"]) for row in rows}
    assert found == {
        "test_passes": ("passed", ""),
        "test_fails": ("failed", "AssertionError: assert not 'so'"),
        "test_breaks": ("error", "OSError: no such thing"),
        "test_skips": ("skipped", "not today"),
        "test_fails_as_expected": ("xfailed", "known"),
        "test_passes_unexpectedly": ("xpassed", "mended"),
        "test_it": ("skipped", f"not served: {script.NOT_SERVED['test_connection_recovery.py::']}"),
    }
    suites = sys.modules["suites"]
    numbers = suites.table(rows).splitlines()[-1].split()
    assert numbers[:9] == ["all", "7", "1", "1", "1", "2", "1", "1", "0"]
    assert "failed, 1 times: AssertionError: assert not 'so'\n    test_small.py::test_fails" in suites.others(rows)


def test_a_file_that_cannot_be_run_is_an_error(script: ModuleType, tmp_path: Path) -> None:
    rows = script.run_file(Path(sys.executable), tmp_path, "test_nowhere.py", "amqp", "redis", 0)
    assert [row["outcome"] for row in rows] == ["error"]
