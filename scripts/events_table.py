"""Write the table of events in docs/reference/api.md from tasksim.events.

python scripts/events_table.py            write it
python scripts/events_table.py --print    print it
"""

from __future__ import annotations

import marked

from tasksim.events import FIELDS, KINDS


def table() -> str:
    """The table, without the markers."""
    rows = ["| event | fields | meaning |", "|---|---|---|"]
    for name, kind in KINDS.items():
        own = ", ".join(f"`{field}`" for field in FIELDS[name] if field not in ("time", "process"))
        meaning = (kind.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        rows.append(f"| `{name}` | {own} | {meaning} |")
    return "\n".join(rows)


def updated(page: str) -> str:
    """The page with what is current."""
    return marked.between(page, "events", table())


if __name__ == "__main__":
    marked.main("api.md", table, updated)
