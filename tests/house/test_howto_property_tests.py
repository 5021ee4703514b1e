"""The page on property tests is true: its blocks, put together, are a test module that passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "property-tests.md"


def test_the_examples_of_the_page_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[2]))
    blocks = re.findall(r"<!-- example: \w+ -->\n```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 2
    pytester.makepyfile("\n\n".join(blocks))
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=2)
