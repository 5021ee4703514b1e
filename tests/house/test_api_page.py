"""The API page says what the code has."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from tasksim.check import CHECKS
from tasksim.events import KINDS

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_events_is_current() -> None:
    events = script("events_table")
    page = events.PAGE.read_text(encoding="utf-8")
    assert page == events.updated(page), "run: python scripts/events_table.py"


def test_the_table_has_a_line_with_a_meaning_for_every_event() -> None:
    rows = [line.strip("| ").split(" | ") for line in script("events_table").table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`{name}`" for name in KINDS]
    assert all(row[-1] for row in rows)


def test_the_page_of_checks_is_current() -> None:
    checks = script("checks_page")
    page = checks.PAGE.read_text(encoding="utf-8")
    assert page == checks.updated(page), "run: python scripts/checks_page.py"


def test_every_check_stands_on_the_api_page() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in CHECKS)
