"""A part of a page that a script writes: between a comment "NAME:begin" and one "NAME:end"."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"


def between(page: str, name: str, text: str) -> str:
    """The page with this text between its markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def main(file: str, make: Callable[[], str], updated: Callable[[str], str]) -> None:
    """Print the part (`--print`), or write it into this file of the reference."""
    if "--print" in sys.argv[1:]:
        sys.stdout.write(make() + "\n")
        return
    page = REFERENCE / file
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
