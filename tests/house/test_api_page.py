"""The API page says what the code has."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tasksim.check import CHECKS
from tasksim.events import KINDS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


Script = Callable[[str], ModuleType]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module


def test_the_table_of_events_is_current(script: Script) -> None:
    page = (REFERENCE / "api.md").read_text(encoding="utf-8")
    assert page == script("events_table").updated(page), "run: python scripts/events_table.py"


def test_the_table_has_a_line_with_a_meaning_for_every_event(script: Script) -> None:
    rows = [line.strip("| ").split(" | ") for line in script("events_table").table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`{name}`" for name in KINDS]
    assert all(row[-1] for row in rows)


def test_the_page_of_checks_is_current(script: Script) -> None:
    page = (REFERENCE / "checks.md").read_text(encoding="utf-8")
    assert page == script("checks_page").updated(page), "run: python scripts/checks_page.py"


def test_every_check_stands_on_the_api_page() -> None:
    page = (REFERENCE / "api.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in CHECKS)
