"""The benchmarks: how each number is put together from runs, how often, and its bound."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["BENCHMARKS", "Benchmark", "Outcome", "Runner"]

Numbers = dict[str, float]


@dataclass
class Outcome:
    """What one benchmark came to; `details` are printed beside it."""

    value: float
    details: Numbers = field(default_factory=dict)


class Runner:
    """Makes runs, each in a process of its own.

    Args:
        quick: fewer repetitions of smaller runs: for a look, not for the record.
    """

    def __init__(self, *, quick: bool = False) -> None:
        self.quick = quick

    def times(self, usual: int) -> int:
        """How often something is repeated."""
        return 1 if self.quick else usual

    def run(self, name: str, **options: int) -> Numbers:
        """One run; see `runs.py` for their names."""
        command = [sys.executable, "-m", "benchmarks.runs", name, *(f"{key}={value}" for key, value in options.items())]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
        numbers: Numbers = json.loads(result.stdout.splitlines()[-1])
        return numbers

    def pairs(self, ours: str, theirs: str, tasks: int) -> Outcome:
        """How many times as fast the first is, on the wall: the median of five pairs, taken in turn."""
        tasks = tasks // 4 if self.quick else tasks
        found = [(self.run(ours, tasks=tasks), self.run(theirs, tasks=tasks)) for _ in range(self.times(5))]
        details = {
            f"{whose} {key} us a task": statistics.median(pair[index][key] for pair in found) / tasks * 1e6
            for index, whose in ((0, "tasksim"), (1, "contrib"))
            for key in ("seconds", "cpu")
        }
        return Outcome(statistics.median(b["seconds"] / a["seconds"] for a, b in found), details)

    def growth(self, name: str) -> Outcome:
        """Processor time for each task of many over that of few: the median of three pairs."""
        few, many = (500, 3000) if self.quick else (1000, 10000)
        found = [
            (self.run(name, tasks=few)["per_task"], self.run(name, tasks=many)["per_task"])
            for _ in range(self.times(3))
        ]
        details = {
            f"us a task at {few}": statistics.median(pair[0] for pair in found) * 1e6,
            f"us a task at {many}": statistics.median(pair[1] for pair in found) * 1e6,
        }
        return Outcome(statistics.median(b / a for a, b in found), details)

    def median(self, name: str, key: str, times: int, **options: int) -> Outcome:
        """The median of some runs, each with a median of its own."""
        return Outcome(statistics.median(self.run(name, **options)[key] for _ in range(self.times(times))))


@dataclass(frozen=True)
class Benchmark:
    """One number.

    Attributes:
        least, most: its bounds, where it has them.
    """

    name: str
    meaning: str
    measure: Callable[[Runner], Outcome]
    least: float | None = None
    most: float | None = None

    def bound(self) -> str:
        """As text."""
        if self.least is not None:
            return f"at least {self.least:g}"
        return "" if self.most is None else f"at most {self.most:g}"

    def holds(self, value: float) -> bool:
        """Is it within its bounds?"""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def _own_share(runner: Runner) -> Outcome:
    found = [runner.run("own_share", tasks=1500 if runner.quick else 6000) for _ in range(runner.times(5))]
    median = {name: statistics.median(one.get(name, 0.0) for one in found) for name in found[0]}
    return Outcome(median.pop("share"), median)


def _retry_test(runner: Runner) -> Outcome:
    ours = runner.run("retry_simulated")["seconds"]
    theirs = runner.run("retry_contrib")["seconds"]
    return Outcome(theirs / ours, {"tasksim seconds": ours, "contrib seconds": theirs})


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "throughput_ratio",
        "times as fast as the contrib worker, RabbitMQ's rules over the memory broker",
        lambda runner: runner.pairs("simulated", "contrib", 3000),
        least=0.9,
    ),
    Benchmark(
        "redis_throughput_ratio",
        "times as fast as the contrib worker, both on Redis, theirs a real one",
        lambda runner: runner.pairs("simulated_redis", "contrib_redis", 2000),
        least=1.0,
    ),
    Benchmark("own_share", "part of the processor time that is tasksim's own", _own_share, most=0.2),
    Benchmark(
        "retry_test_ratio",
        "times as fast as the contrib worker in a test that backs off 1 + 2 + 4 s",
        _retry_test,
        least=300,
    ),
    Benchmark(
        "fresh_world_ms",
        "two workers up and down, ms",
        lambda runner: runner.median("fresh_world", "ms", 5),
        most=30,
    ),
    Benchmark(
        "queued_growth",
        "time a task at 10,000 queued over that at 1,000",
        lambda runner: runner.growth("queued"),
        most=1.3,
    ),
    Benchmark(
        "eta_growth",
        "time a task at 10,000 with an ETA over that at 1,000",
        lambda runner: runner.growth("eta"),
        most=1.3,
    ),
    Benchmark(
        "beat_month_seconds",
        "processor time for 30 days of a minutely schedule, beat and publishing, s",
        lambda runner: runner.median("beat", "seconds", 1, hours=24 if runner.quick else 720),
        most=60,
    ),
    Benchmark(
        "plugin_ms",
        "what the plugin costs an empty run of pytest, ms",
        lambda runner: runner.median("plugin", "ms", 1, pairs=9 if runner.quick else 25),
        most=5,
    ),
    Benchmark(
        "leaked_kib_per_run",
        "what a run of two living workers leaves in memory, KiB",
        lambda runner: runner.median("leaked", "kib", 1, repeats=20 if runner.quick else 60),
    ),
)
