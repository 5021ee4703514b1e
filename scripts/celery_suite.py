"""Run Celery's own integration tests inside the simulation.

python scripts/celery_suite.py --broker amqp|redis [--backend redis|rpc] [--json FILE] [--source FOLDER] [--jobs N]
                               [FILE ...]

The tests are those of one Celery release, from its source distribution, and are not changed. As in Celery's own CI,
each file runs in a process of its own. This module is their pytest plugin, too; tasksim's drop-in does the rest. Exits
0 if no test failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

RELEASE = "5.7.0"
#: What the suite needs besides, in the releases that its outcomes on real brokers were measured with.
REQUIREMENTS = (
    f"celery[redis,auth,memcache,django,sqlalchemy]=={RELEASE}", "pydantic", "psutil", "tblib", "azure-storage-blob",
    "azure-identity", "azure-storage-queue", "pytest==9.1.1", "pytest-celery==1.3.0", "pytest-rerunfailures==16.7",
    "pytest-subtests==0.15.0", "pytest-timeout==2.4.0", "pytest-click==1.1.0", "pytest-order==1.5.0",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "celery-suite"
BROKERS = {"amqp": "pyamqp://", "redis": "redis://"}
#: As the suite itself compares them: one of its marks asks for exactly `rpc`.
BACKENDS = {"redis": "redis://", "rpc": "rpc"}
#: Files that take longest: they begin first.
LONGEST = ("test_canvas.py", "test_mem_leak_in_exception_handling.py", "test_group_chains.py", "test_tasks.py")
#: Tests that cannot run here, and why; all others run.
NOT_SERVED = {
    "test_connection_recovery.py::": "a TCP proxy of the test's own: real sockets in threads that block for real",
    "test_worker.py::test_concurrency_auto_sizes_prefork_pool": "starts `celery worker` as a program: a real process",
}
#: Real seconds that a file may take.
PATIENCE = 1200
_OUTCOMES = "TASKSIM_SUITE_OUTCOMES"
COLUMNS = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")

# --- the plugin: what runs in each process of the suite

_rows: dict[str, dict[str, Any]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What cannot run is not tried."""
    import pytest

    for item in items:
        reason = not_served(item.nodeid.removeprefix("t/integration/"))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"not served: {reason}"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what became of each test: its last run."""
    if hasattr(report, "context"):
        return  # a part of a test (subtests); a failure of it fails the test
    name = report.nodeid.removeprefix("t/integration/")
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
        reason = str(crash.message if crash is not None else report.longrepr)
    if outcome != "passed" and row["outcome"] in ("passed", "xpassed"):
        row.update(outcome=outcome, reason=reason.strip().split("\n", 1)[0].removeprefix("Skipped: "))


def pytest_sessionfinish() -> None:
    """Hand the outcomes over."""
    if _OUTCOMES in os.environ:
        Path(os.environ[_OUTCOMES]).write_text(json.dumps(list(_rows.values())), encoding="utf-8")


def not_served(name: str) -> str | None:
    """Why a test cannot run here, if it is one of those."""
    return next((reason for begin, reason in NOT_SERVED.items() if name.startswith(begin)), None)


# --- the command


def make_environment() -> Path:
    """A virtual environment with the suite's requirements; gives its interpreter. Made once."""
    python = FOLDER / "venv" / "bin" / "python"
    wanted, note = "\n".join((str(ROOT), *REQUIREMENTS)), FOLDER / "venv" / "requirements.txt"
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        print(f"making {FOLDER / 'venv'} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER / "venv")], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-e", str(ROOT), *REQUIREMENTS], check=True)
        note.write_text(wanted, encoding="utf-8")
    return python


def fetch(python: Path) -> Path:
    """The unpacked source distribution; downloaded once."""
    source = FOLDER / f"celery-{RELEASE}"
    if not source.exists():
        command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            subprocess.run([*command, "--dest", folder, f"celery=={RELEASE}"], check=True)
            with tarfile.open(next(Path(folder).glob("celery-*.tar.gz"))) as tar:
                tar.extractall(FOLDER, filter="data")
    return source


def run_file(python: Path, source: Path, name: str, broker: str, backend: str, seed: int) -> list[dict[str, Any]]:
    """Run one file of the suite in a process of its own; what became of its tests."""
    with tempfile.TemporaryDirectory(prefix="tasksim-suite-") as folder:
        outcomes = Path(folder) / "outcomes.json"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "PYTEST_"))}
        environment |= {
            "TEST_BROKER": BROKERS[broker], "TEST_BACKEND": BACKENDS[backend], "WORKER_LOGLEVEL": "INFO",
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}", _OUTCOMES: str(outcomes),
            "PYTHONPATH": str(Path(__file__).parent),
        }  # fmt: skip
        command = [str(python), "-m", "pytest", f"t/integration/{name}", "-p", "tasksim.pytest_plugin"]
        command += ["-p", Path(__file__).stem, "-o", "tasksim_dropin=true", f"--tasksim-seed={seed}", "-q"]
        command += [
            "-p",
            "no:cacheprovider",
            "-p",
            "no:hypothesispytest",
            f"--basetemp={folder}/pytest",
            "-W",
            "ignore",
        ]
        try:
            done = subprocess.run(
                command, cwd=source, env=environment, timeout=PATIENCE, capture_output=True, text=True, check=False
            )
            last = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
        except subprocess.TimeoutExpired:
            last = f"took longer than {PATIENCE} s"
        found: list[dict[str, Any]] = json.loads(outcomes.read_text(encoding="utf-8")) if outcomes.exists() else []
        return found or [{"test": name, "outcome": "error", "reruns": 0, "seconds": 0.0, "reason": last}]


def table(rows: Iterable[dict[str, Any]]) -> str:
    """A line for each file, and one for all."""
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_file[row["test"].partition("::")[0]].append(row)
    by_file["all"] = [row for found in list(by_file.values()) for row in found]
    width = max(map(len, by_file))
    lines = [f"{'file':{width}} {'tests':>6}" + "".join(f" {name:>8}" for name in (*COLUMNS, "reruns", "seconds"))]
    for name, found in by_file.items():
        counts = Counter(row["outcome"] for row in found)
        numbers = [counts[one] for one in COLUMNS] + [sum(row["reruns"] for row in found)]
        seconds = sum(row["seconds"] for row in found)
        lines.append(f"{name:{width}} {len(found):6}" + "".join(f" {one:8}" for one in numbers) + f" {seconds:8.1f}")
    return "\n".join(lines)


def others(rows: Iterable[dict[str, Any]]) -> str:
    """The tests that did not pass, by outcome and reason."""
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row["outcome"] != "passed":
            by_reason[row["outcome"], row["reason"]].append(row["test"])
    lines = []
    for (outcome, reason), names in sorted(by_reason.items()):
        lines.append(f"{outcome}, {len(names)} times: {reason or 'no reason given'}")
        lines += [f"    {name}" for name in names[:10]] + ([f"    and {len(names) - 10} more"] if names[10:] else [])
    return "\n".join(lines)


def main() -> int:
    """Fetch, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", help="names of test files; default: all")
    parser.add_argument("--broker", choices=BROKERS, default="amqp")
    parser.add_argument("--backend", choices=BACKENDS, default="redis")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument("--source", type=Path, help=f"an unpacked source distribution; default: {RELEASE}, fetched")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="files at a time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    python = make_environment()
    source = options.source or fetch(python)
    names = options.files or sorted(path.name for path in (source / "t" / "integration").glob("test_*.py"))
    first = sorted(names, key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as executor:
        runs = {
            name: executor.submit(
                run_file, python, source, name, options.broker, options.backend, options.seed
            )
            for name in first
        }  # fmt: skip
        rows = [row for name in names for row in runs[name].result()]
    print(table(rows))
    print(others(rows))
    print(f"{options.broker}+{options.backend}: {len(rows)} tests in {time.monotonic() - began:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any(row["outcome"] in ("failed", "error") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
