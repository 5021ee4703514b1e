"""The data about other releases: well formed, about tests that there are, and judged as it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tasksim.errors import PatchMissing
from tasksim.kernel.cells import Cells
from tasksim.kernel.process import Process
from tasksim.patching.table import Patches
from tasksim.worker import state
from tests.versions import ALL, Difference

ROOT = Path(__file__).resolve().parents[2]


def test_every_difference_has_its_reason_its_releases_and_tests_that_there_are() -> None:
    for one in ALL:
        assert one.difference.endswith(".")
        assert one.reason.endswith(".")
        assert all(Requirement(needs).specifier for needs in one.needs)
        for test in one.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert file.endswith(".yaml") or f"def {name.partition('[')[0]}(" in text, test


def test_a_difference_is_a_failure_with_its_own_text() -> None:
    one = Difference(["a.py::test_b", "a.py::test_c[1]"], ["celery<1"], "1 == [23]", "It is otherwise.", "Because.")
    assert one.judge(False, "assert 1 == 3") == "otherwise"
    assert one.judge(False, "TypeError") == "wrong"
    assert one.judge(True, "") == "same"
    assert one.concerns("a.py::test_b[x]")
    assert one.concerns("a.py::test_c[1]")
    assert not one.concerns("a.py::test_c[2]")
    assert not one.applies()


def test_state_that_a_release_has_moved_is_told_of_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "NAMES", ((state.state, "moved_away", None, None),))
    patches = Patches()
    with pytest.raises(PatchMissing, match=r"celery\.worker\.state:moved_away does not exist"):
        state.add_cells(Cells(Process(1, "client")), patches)
    patches.restore()
    monkeypatch.setitem(state.SINCE, "celery.worker.state:moved_away", "celery>=1000")
    state.add_cells(Cells(Process(1, "client")), patches)
    patches.restore()
