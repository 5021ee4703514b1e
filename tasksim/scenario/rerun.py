"""A trace file run again: what its header must say, and whether the run comes out the same."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tasksim.errors import TraceError
from tasksim.scenario.build import Outcome, run_scenario
from tasksim.scenario.load import load
from tasksim.trace import Difference, Trace, first_difference

__all__ = ["Replay", "header", "replay"]

_PACKAGES = ("tasksim", "celery", "kombu", "billiard", "amqp", "redis", "fakeredis")


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a run again.

    Attributes:
        outcome: of the new run.
        before: the trace of the file.
        difference: the first one; None if the runs are the same.
        changed: packages (and python) whose version was another one: name to (then, now).
    """

    outcome: Outcome
    before: Trace
    difference: Difference | None
    changed: Mapping[str, tuple[str, str]]


def versions() -> dict[str, str]:
    """What a run depends on besides the app."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def header(outcome: Outcome) -> dict[str, object]:
    """What a trace file must say so that `replay` can run it again."""
    scenario = outcome.scenario
    return {
        "scenario": scenario.file,
        "sha256": scenario.sha256,
        "seed": outcome.seed,
        "versions": versions(),
    }


def replay(path: str | os.PathLike[str], *, scenario: str | None = None) -> Replay:
    """Run a trace file again.

    Args:
        path: what `tasksim run --trace` wrote.
        scenario: where its scenario file is now; default the place in the header, seen from the working directory or
            from the trace file's folder.

    Raises:
        TraceError: the file cannot be read, or does not say what was run.
        ScenarioError: its scenario is gone, is another one now, or cannot be run.
    """
    before = Trace.load(path)
    file, digest, seed = _read(before.metadata, os.fspath(path))
    story = load(scenario if scenario is not None else _find(file, Path(path)))
    if story.sha256 != digest:
        raise TraceError(
            f"{os.fspath(path)}: its scenario {story.file} has changed since it was written, so a run again proves "
            "nothing; give the file as it was with --scenario FILE, or write the trace anew with tasksim run --trace"
        )
    outcome = run_scenario(story, seed=seed)
    return Replay(outcome, before, first_difference(before, outcome.trace), _changed(before.metadata.get("versions")))


def _changed(then: object) -> dict[str, tuple[str, str]]:
    """Versions that are not what they were."""
    if not isinstance(then, dict):
        return {}
    now = versions()
    pairs = {name: (str(then.get(name, "none")), now.get(name, "none")) for name in sorted({*then, *now})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _read(found: Mapping[str, object], path: str) -> tuple[str, str, int]:
    """What the header says was run."""
    file, digest, seed = found.get("scenario"), found.get("sha256"), found.get("seed")
    if not (isinstance(file, str) and isinstance(digest, str) and isinstance(seed, int)):
        raise TraceError(
            f"{path}:1: the header does not say which scenario, of which sha256, with which seed this was; "
            "only what `tasksim run FILE --trace` writes can be run again"
        )
    return file, digest, seed


def _find(file: str, trace: Path) -> str:
    beside = trace.parent / file
    return str(beside) if not os.path.exists(file) and beside.exists() else file
