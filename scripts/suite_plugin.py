"""The pytest plugin of the scripts that run other projects' suites: tells what became of each test.

It writes a list of objects (`test`, `outcome`, `reruns`, `seconds`, `reason`) to the file that `TASKSIM_SUITE` names,
and skips the tests that `not_served` there names: a test, or all of a file (`test_it.py::`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

#: The environment variable: JSON with `outcomes` (a path), `prefix` (taken off the names of tests), `not_served`.
VARIABLE = "TASKSIM_SUITE"
_told: dict[str, Any] = {"outcomes": "", "prefix": "", "not_served": {}, **json.loads(os.environ.get(VARIABLE, "{}"))}
_rows: dict[str, dict[str, Any]] = {}


def _name(item_or_report: Any) -> str:
    name: str = item_or_report.nodeid
    return name.removeprefix(_told["prefix"])


def not_served(name: str, reasons: dict[str, str]) -> str | None:
    """Why a test cannot run, if it is one of those."""
    plain = name.partition("[")[0]
    wanted = {name, plain, plain.partition("::")[0] + "::"}
    return next((reason for one, reason in reasons.items() if one in wanted), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What cannot run is not tried."""
    import pytest

    for item in items:
        name = _name(item)
        reason = not_served(name, _told["not_served"])
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"not served: {reason}"))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported is an error."""
    if report.failed:
        reason = str(report.longrepr).strip().rsplit("\n", 1)[-1].removeprefix("E ").strip()
        name = _name(report) or "collection"
        _rows[name] = {"test": name, "outcome": "error", "reruns": 0, "seconds": 0.0, "reason": reason}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what became of each test: its last run."""
    if hasattr(report, "context"):
        return  # a part of a test (subtests); a failure of it fails the test
    name = _name(report)
    row = _rows.setdefault(name, {"test": name, "outcome": "passed", "reruns": 0, "seconds": 0.0, "reason": ""})
    row["seconds"] = round(row["seconds"] + report.duration, 3)
    outcome, reason = report.outcome, ""
    if outcome == "rerun":
        row.update(reruns=row["reruns"] + 1, outcome="passed", reason="")
        return
    if hasattr(report, "wasxfail"):
        outcome, reason = ("xfailed" if report.skipped else "xpassed"), report.wasxfail
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    elif report.failed:
        outcome = "failed" if report.when == "call" else "error"
        crash = getattr(report.longrepr, "reprcrash", None)
        missing = getattr(report.longrepr, "errorstring", "")  # a fixture that nobody has, for one
        reason = str(crash.message if crash is not None else missing or report.longrepr)
    if outcome != "passed" and row["outcome"] in ("passed", "xpassed"):
        row.update(outcome=outcome, reason=reason.strip().split("\n", 1)[0].removeprefix("Skipped: "))


def pytest_sessionfinish() -> None:
    """Hand the outcomes over."""
    if _told["outcomes"]:
        Path(_told["outcomes"]).write_text(json.dumps(list(_rows.values())), encoding="utf-8")
