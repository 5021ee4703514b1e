"""Run Celery's own integration tests inside the simulation.

python scripts/celery_suite.py --broker amqp|redis [--backend redis|rpc] [--json FILE] [--source FOLDER] [--jobs N]
                               [FILE ...]

The tests are those of one Celery release, from its source distribution, and are not changed. As in Celery's own CI,
each file runs in a process of its own. tasksim's drop-in does the rest. Exits 0 if no test failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from suites import BUILD, Row, SuiteError, fetch_release, make_environment, report, run_pytest

RELEASE = "5.7.0"
#: What the suite needs besides, in the releases that its outcomes on real brokers were measured with.
REQUIREMENTS = (
    f"celery[redis,auth,memcache,django,sqlalchemy]=={RELEASE}", "pydantic", "psutil", "tblib", "azure-storage-blob",
    "azure-identity", "azure-storage-queue", "pytest==9.1.1", "pytest-celery==1.3.0", "pytest-rerunfailures==16.7",
    "pytest-subtests==0.15.0", "pytest-timeout==2.4.0", "pytest-click==1.1.0", "pytest-order==1.5.0",
)  # fmt: skip
FOLDER = BUILD / "celery-suite"
PREFIX = "t/integration/"
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


def run_file(python: Path, source: Path, name: str, broker: str, backend: str, seed: int) -> list[Row]:
    """Run one file of the suite in a process of its own; what became of its tests."""
    addresses = {"TEST_BROKER": BROKERS[broker], "TEST_BACKEND": BACKENDS[backend], "WORKER_LOGLEVEL": "INFO"}
    return run_pytest(
        python, source, [PREFIX + name], environment=addresses, prefix=PREFIX, not_served=NOT_SERVED, seed=seed
    )


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
    try:
        python = make_environment(FOLDER, REQUIREMENTS)
        source = options.source or fetch_release(FOLDER, "celery", RELEASE)
    except SuiteError as problem:
        print(problem, file=sys.stderr)
        return 2
    names = options.files or sorted(path.name for path in (source / PREFIX).glob("test_*.py"))
    first = sorted(names, key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as executor:
        runs = {
            name: executor.submit(run_file, python, source, name, options.broker, options.backend, options.seed)
            for name in first
        }
        rows = [row for name in names for row in runs[name].result()]
    combination = f"{options.broker}+{options.backend}"
    return report(rows, f"{combination}: {len(rows)} tests in {time.monotonic() - began:.0f} s", options.json)


if __name__ == "__main__":
    sys.exit(main())
