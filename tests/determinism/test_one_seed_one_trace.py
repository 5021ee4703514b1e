"""One seed gives one trace, to the last event: in any interpreter, with any hash seed, in any order of runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasksim.trace.compare import first_difference
from tasksim.trace.log import Trace
from tests.determinism import worlds

ROOT = Path(__file__).resolve().parents[2]
#: For each fresh interpreter its hash seed and the order in which it runs everything.
INTERPRETERS = {"0": "forward", "1": "backward", "4242": "forward"}

Digests = dict[str, dict[str, list[str]]]


def _interpreter(folder: Path, hash_seed: str, *options: str) -> dict[str, list[str]]:
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scenarios' / 'apps'}",
    }
    command = [sys.executable, "-m", "tests.determinism.digests", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def digests(folder: Path) -> Iterator[Digests]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = {
            seed: pool.submit(_interpreter, folder / seed, seed, "--passes", passes)
            for seed, passes in INTERPRETERS.items()
        }
        yield {seed: run.result() for seed, run in runs.items()}


def _explain(folder: Path, one: tuple[str, int], other: tuple[str, int], name: str) -> str:
    left, right = (Trace.load(folder / seed / f"{name}.{number}.jsonl") for seed, number in (one, other))
    return f"{name}, {one} against {other}: {first_difference(left, right)}\n{left.metadata}\n{right.metadata}"


def test_every_program_scenario_and_world_is_the_same_in_fresh_interpreters_and_in_any_order(
    digests: Digests, folder: Path
) -> None:
    names = list(digests["0"])
    assert len([name for name in names if name.endswith((".amqp", ".redis"))]) > 100
    assert any(name.startswith("scenario.") for name in names)
    found = []
    for name in names:
        runs = [((seed, number), digest) for seed in digests for number, digest in enumerate(digests[seed][name])]
        assert len(runs) == len(INTERPRETERS)
        first, digest = runs[0]
        found += [_explain(folder, first, run, name) for run, other in runs[1:] if other != digest][:1]
    assert not found, f"{len(found)} of {len(names)} differ\n" + "\n".join(found)


def test_other_seeds_are_as_repeatable(folder: Path) -> None:
    options = ("--only", "worlds", "--seed", "5")
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = [pool.submit(_interpreter, folder / f"five-{seed}", seed, *options) for seed in ("2", "77")]
        one, other = (run.result() for run in runs)
    assert one == other


def test_seeds_differ_in_what_happens_and_not_only_in_names() -> None:
    orders = set()
    for seed in range(6):
        trace = worlds.run("several_workers.amqp", seed)
        orders.add(tuple((type(event).__name__, event.process) for event in trace))
    assert len(orders) > 1


def test_two_runs_in_one_interpreter_are_equal_whatever_was_run_and_imported_between() -> None:
    first = worlds.run("many_bindings.redis", 3)
    worlds.run("several_workers.both", 1)
    second = worlds.run("many_bindings.redis", 3)
    assert first_difference(first, second) is None
    assert first.digest() == second.digest()
    assert first.metadata == second.metadata
