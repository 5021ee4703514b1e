"""Write the tables of docs/reference/checks.md from tasksim.check.

python scripts/checks_page.py            write them
python scripts/checks_page.py --print    print them
"""

from __future__ import annotations

import sys
from pathlib import Path

from tasksim.check import CHECKS, INCIDENTS, LAWS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "checks.md"
BEGIN, END = "<!-- checks:begin -->", "<!-- checks:end -->"


def tables() -> str:
    """What stands between the markers."""
    lines = []
    for check in CHECKS.values():
        lines += [f"## {check.name}", "", f"Claim: {check.claim}.", "", f"Laws: {', '.join(check.laws)}."]
        lines += [f"Incidents it can name: {', '.join(check.incidents) or 'none'}.", "", "No finding:", ""]
        lines += [f"- {exception}" for exception in check.exceptions] + [""]
    lines += ["## Laws", "", "Of Celery 5.7 and kombu 5.7, with the place that decides.", "", "| | |", "|---|---|"]
    lines += [f"| {number} | {text} |" for number, text in LAWS.items()]
    lines += ["", "## Incidents", "", "What people had; numbers without a repository are celery/celery's.", ""]
    lines += ["| | | told in |", "|---|---|---|"]
    lines += [f"| {number} | {title} | {source} |" for number, (title, source) in INCIDENTS.items()]
    return "\n".join(lines)


def updated(page: str) -> str:
    """The page with current tables."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(tables() + "\n")
    else:
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
