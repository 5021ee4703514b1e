"""`python -m benchmarks [--json FILE] [--only NAME ...] [--quick]`."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.table import BENCHMARKS, Benchmark, Outcome, Runner

PACKAGES = ("celery", "kombu", "billiard", "amqp", "redis", "fakeredis", "greenlet")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What tasksim costs.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to a file as one JSON object")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[one.name for one in BENCHMARKS], help="only these"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs: for a look, not for the record")
    return parser.parse_args(given)


def line(benchmark: Benchmark, outcome: Outcome) -> str:
    """One benchmark as text."""
    verdict = "" if benchmark.holds(outcome.value) else "   <-- MISSED"
    head = f"{benchmark.name:24}{outcome.value:10.3g}   {benchmark.bound():14}{benchmark.meaning}{verdict}"
    return "\n".join([head, *(f"{'':37}{name}: {value:.4g}" for name, value in outcome.details.items())])


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a bound is missed."""
    options = arguments(given)
    runner, began = Runner(quick=options.quick), time.monotonic()
    outcomes: dict[str, Outcome] = {}
    missed = 0
    for benchmark in BENCHMARKS:
        if options.only and benchmark.name not in options.only:
            continue
        outcome = outcomes[benchmark.name] = benchmark.measure(runner)
        missed += not benchmark.holds(outcome.value)
        print(line(benchmark, outcome), flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(report(outcomes, quick=options.quick), indent=2) + "\n", encoding="utf-8")
    return int(bool(missed))


def report(outcomes: dict[str, Outcome], *, quick: bool) -> dict[str, object]:
    """All numbers by name, and with what they were measured."""
    return {
        **{name: outcome.value for name, outcome in outcomes.items()},
        "details": {name: outcome.details for name, outcome in outcomes.items() if outcome.details},
        "quick": quick,
        "load": os.getloadavg()[1] / (os.cpu_count() or 1),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    raise SystemExit(main())
