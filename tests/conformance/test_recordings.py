"""The public recordings of real workers on real brokers come out the same, under several seeds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tasksim.check import check_trace
from tests.conformance.runner import RELEASE, Corpus

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)
#: What does not match, with its reason: {"program", "broker", "difference", "reason"}; six at most.
KNOWN = json.loads((HERE / "known.json").read_text(encoding="utf-8"))
#: What older releases do otherwise, found by recording them: {"programs", "brokers", "releases", "difference",
#: "reason"}. The recordings stand in a folder `celery-RELEASE`; where the program waits in vain, "fails" is its error;
#: where there is none, "differs" are the differences from the newest one's, and "may" begins others that times make.
VERSIONS = json.loads((HERE / "versions.json").read_text(encoding="utf-8"))
#: What the checks find in the public recordings, and the incident that is its reason; nothing in all others.
FINDINGS = json.loads((HERE / "findings.json").read_text(encoding="utf-8"))


def of_release(name: str, broker: str, release: str) -> list[dict[str, Any]]:
    """What this release of Celery does otherwise in this program."""
    return [
        one for one in VERSIONS
        if name in one["programs"] and broker in one["brokers"] and release in one["releases"]
    ]  # fmt: skip


def corpora() -> list[Path]:
    """Folders with programs and recordings."""
    return [folder for folder in (HERE, HERE / "more") if (folder / "programs").is_dir()]


def cases() -> list[tuple[Path, str, str]]:
    found = []
    for folder in corpora():
        for path in sorted((folder / "recordings").glob("*.json")):
            name, broker = path.stem.rsplit(".", 1)
            found.append((folder, name, broker))
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("folder", "name", "broker"), cases(), ids=lambda value: str(getattr(value, "name", value)))
@pytest.mark.filterwarnings("ignore")  # programs are as they were recorded
def test_a_recording_comes_out_the_same_and_checks_find_what_is_known(
    folder: Path, name: str, broker: str, seed: int
) -> None:
    known = [one for one in KNOWN if (one["program"], one["broker"]) == (name, broker)]
    before = set(sys.modules)
    try:
        corpus = Corpus(folder / "programs", folder / "recordings")
        run = corpus.run(name, broker, seed)
        differences = corpus.compare(name, broker, run)
    finally:
        for module in set(sys.modules) & {"base", "probe", "record", "compare", "real_ctl", name} - before:
            del sys.modules[module]
    differing = next((one for one in of_release(name, broker, RELEASE) if "differs" in one), None)
    failing = [one["fails"] for one in of_release(name, broker, RELEASE) if "fails" in one]
    if failing:
        assert differences == [f"the run failed: TimeoutError: {failing[0]}"]
    elif differing:
        assert [line for line in differences if not line.startswith(tuple(differing["may"]))] == differing["differs"]
    elif known:
        assert differences, "it matches now: take it off known.json"
    else:
        assert differences == []
    findings = check_trace(run.trace)
    assert all(finding.incident for finding in findings), findings
    if folder == HERE and not of_release(name, broker, RELEASE):
        assert sorted({(finding.check, finding.incident) for finding in findings}) == [
            tuple(pair) for pair in FINDINGS.get(name, [])
        ], findings


def test_what_the_checks_find_is_about_programs_that_there_are() -> None:
    assert set(FINDINGS) <= {name for folder, name, _ in cases() if folder == HERE}


def test_at_most_six_recordings_are_known_to_differ() -> None:
    assert len(KNOWN) <= 6
    assert all(set(one) == {"program", "broker", "difference", "reason"} for one in KNOWN)


def test_every_difference_of_a_release_has_its_recording_and_every_recording_its_difference() -> None:
    assert all(one["difference"] and one["reason"] for one in VERSIONS)
    stated = {
        (name, broker, release)
        for one in VERSIONS if not {"fails", "differs"} & set(one)
        for name in one["programs"] for broker in one["brokers"] for release in one["releases"]
    }  # fmt: skip
    recorded = set()
    for folder in corpora():
        for path in (folder / "recordings").glob("celery-*/*.json"):
            name, broker = path.stem.rsplit(".", 1)
            release = path.parent.name.removeprefix("celery-")
            recorded.add((name, broker, release))
            assert json.loads(path.read_text(encoding="utf-8"))["celery"].startswith(f"{release}.")
    assert stated == recorded
    assert {name for one in VERSIONS for name in one["programs"]} <= {name for _, name, _ in cases()}
