"""The table of Celery's user guide: every row is there, and every link names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "celery.md"
TITLES = (
    "Tasks", "Calling", "Canvas", "Queues and routing", "Workers", "Beat", "Signals, events, monitoring", "Bootsteps",
    "Remote control", "Around it", "Django and databases", "Drop-in",
)  # fmt: skip
#: Rows whose tests are still being written; to be emptied.
UNFINISHED: set[str] = set()
BROKERS = {"both", "RabbitMQ", "Redis", "any"}
LINK = re.compile(r"\[`(?P<name>[^`]+)`\]\((?P<path>[^)]+)\)")


def sections() -> dict[str, list[list[str]]]:
    """Title of each section, and the cells of each line of its table."""
    found: dict[str, list[list[str]]] = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("|")]
        found[title] = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    return found


SECTIONS = sections()
LINES = [(title, cells) for title, lines in SECTIONS.items() for cells in lines]


def test_every_row_has_its_section_in_order() -> None:
    assert list(SECTIONS) == [f"{number}. {title}" for number, title in enumerate(TITLES, 1)] + ["What is refused"]


@pytest.mark.parametrize(("number", "title"), list(enumerate(TITLES, 1)), ids=TITLES)
def test_a_row_has_items(number: int, title: str) -> None:
    assert SECTIONS[f"{number}. {title}"] or title in UNFINISHED


@pytest.mark.parametrize(("title", "cells"), LINES, ids=[cells[0] for _, cells in LINES])
def test_each_line_names_brokers_and_tests_that_exist(title: str, cells: list[str]) -> None:
    item, middle, links = cells
    assert item
    assert middle in BROKERS if title != "What is refused" else middle
    tests = LINK.findall(links)
    assert tests
    assert not LINK.sub("", links).strip(" ,"), "only links to tests, with commas between them"
    for name, path in tests:
        text = (PAGE.parent / path).read_text(encoding="utf-8")
        assert re.search(rf"^\s*def {re.escape(name)}\(", text, re.MULTILINE), f"{path} has no {name}"
