"""The page on eager mode is true: its example prints what it shows, and its table names every kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasksim.comparison.hidden import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explanation" / "eager.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    match = re.search(r"<!-- example: compare -->\n```python\n(.+?)```\n\n```text\n(.+?)```", PAGE, re.S)
    assert match is not None
    code, shown = match.groups()
    exec(code, {"__name__": "page"})
    assert capsys.readouterr().out == shown


def test_the_table_has_every_kind_with_its_reason() -> None:
    assert re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.M) == list(KINDS.items())
