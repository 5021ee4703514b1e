"""Write the table of events in docs/reference/api.md from tasksim.events.

python scripts/events_table.py            write it
python scripts/events_table.py --print    print it
"""

from __future__ import annotations

import sys
from pathlib import Path

from tasksim.events import FIELDS, KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "api.md"
BEGIN, END = "<!-- events:begin -->", "<!-- events:end -->"


def table() -> str:
    """The table, without the markers."""
    rows = ["| event | fields | meaning |", "|---|---|---|"]
    for name, kind in KINDS.items():
        own = ", ".join(f"`{field}`" for field in FIELDS[name] if field not in ("time", "process"))
        meaning = (kind.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        rows.append(f"| `{name}` | {own} | {meaning} |")
    return "\n".join(rows)


def updated(page: str) -> str:
    """The page with a current table."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(table() + "\n")
    else:
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
