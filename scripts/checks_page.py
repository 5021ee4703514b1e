"""Write the tables of docs/reference/checks.md from tasksim.check.

python scripts/checks_page.py            write them
python scripts/checks_page.py --print    print them
"""

from __future__ import annotations

import marked

from tasksim.check import CHECKS, INCIDENTS, LAWS


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
    """The page with what is current."""
    return marked.between(page, "checks", tables())


if __name__ == "__main__":
    marked.main("checks.md", tables, updated)
