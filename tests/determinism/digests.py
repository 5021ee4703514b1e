"""python -m tests.determinism.digests FOLDER [--passes forward,backward] [--seed N] [--only worlds]

Runs every program, scenario and world in this interpreter, once for each pass, and prints a JSON object: for each of
them the digests of its runs. The traces go to FOLDER.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from tasksim.trace.log import Trace
from tests.conformance.runner import Corpus
from tests.determinism import worlds
from tests.versions import difference_of

TESTS = Path(__file__).resolve().parents[1]
CONFORMANCE, SCENARIOS = TESTS / "conformance", TESTS.parent / "scenarios"

Case = Callable[[int], Trace]


def _programs() -> dict[str, Case]:
    corpus = Corpus(CONFORMANCE / "programs", CONFORMANCE / "recordings")

    def case(name: str, broker: str) -> Case:
        return lambda seed: corpus.run(name, broker, seed).trace

    return {f"{name}.{broker}": case(name, broker) for name, broker in corpus.cases()}


def _scenarios() -> dict[str, Case]:
    from tasksim.scenario import load, run_scenario

    def case(path: Path) -> Case:
        def run(seed: int) -> Trace:
            import shop

            shop.reset()
            outcome = run_scenario(load(path), seed=seed)
            assert isinstance(outcome.trace, Trace)
            return outcome.trace

        return run

    return {f"scenario.{path.stem}": case(path) for path in sorted(SCENARIOS.glob("*.yaml")) if _is_readable(path)}


def _is_readable(path: Path) -> bool:
    """Can it be loaded? An older release may not know one of its settings: tests/versions.json says which."""
    from tasksim.errors import ScenarioError
    from tasksim.scenario import load, run_scenario

    if difference_of(f"scenarios/{path.name}::{path.stem}") is None:
        return True
    try:
        run_scenario(load(path))
    except ScenarioError:
        return False
    return True


def _worlds() -> dict[str, Case]:
    return {f"world.{name}": lambda seed, name=name: worlds.run(name, seed) for name in worlds.WORLDS}  # type: ignore[misc]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.determinism.digests", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passes", default="forward", help="forward, backward, or several with commas between them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("worlds",))
    arguments = parser.parse_args()
    logging.getLogger("celery").setLevel(logging.CRITICAL + 1)
    cases = _worlds()
    if arguments.only is None:
        cases = {**_programs(), **_scenarios(), **cases}
    digests: dict[str, list[str]] = {}
    for one in arguments.passes.split(","):
        for name in list(cases) if one == "forward" else list(cases)[::-1]:
            with contextlib.redirect_stderr(io.StringIO()):
                trace = cases[name](arguments.seed)
            found = digests.setdefault(name, [])
            trace.save(arguments.folder / f"{name}.{len(found)}.jsonl")
            found.append(f"{trace.digest()} {trace.metadata.get('told', '')}")
    sys.stdout.write(json.dumps(digests))


if __name__ == "__main__":
    main()
