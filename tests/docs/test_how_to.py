"""The how-to pages, followed: each block under `<!-- file: NAME -->` becomes a file, and then pytest runs."""

import re
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)
OUTCOME = re.compile(r"<!-- outcome: (\d+) (passed|skipped) -->")
PAGES = sorted(page for page in HOW_TO.glob("*.md") if BLOCK.search(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page(pytester, monkeypatch, page):
    blocks = BLOCK.findall(page.read_text())
    for name, code in blocks:
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    # A page whose tests are parametrized, or skipped in part, says what its run comes to.
    said = {word: int(count) for count, word in OUTCOME.findall(page.read_text())}
    tests = sum(len(re.findall(r"^def test_", code, re.MULTILINE)) for _, code in blocks)
    # Of the plugins that are installed here only those that the page speaks of; PYTHONPATH in case tasksim is not.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(HOW_TO.parents[1]))
    # Django's apps need a table for a model without migrations; elsewhere the option is unknown.
    django = ["-p", "django", "--nomigrations"] if "DJANGO_SETTINGS_MODULE" in page.read_text() else []
    options = ["-W", "error", "-p", "no:cacheprovider", "-p", "tasksim.pytest_plugin", *django]
    result = pytester.runpytest_subprocess(*options, timeout=600)
    result.assert_outcomes(**(said or {"passed": tests}))
