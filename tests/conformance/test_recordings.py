"""The public recordings of real workers on real brokers come out the same, under several seeds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tasksim.check import check_trace
from tests.conformance.runner import Corpus

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)
#: What does not match, with its reason: {"program", "broker", "difference", "reason"}; six at most.
KNOWN = json.loads((HERE / "known.json").read_text(encoding="utf-8"))
#: What the checks find in the public recordings, and the incident that is its reason; nothing in all others.
FINDINGS = json.loads((HERE / "findings.json").read_text(encoding="utf-8"))


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
    if known:
        assert differences, "it matches now: take it off known.json"
    else:
        assert differences == []
    findings = check_trace(run.trace)
    assert all(finding.incident for finding in findings), findings
    if folder == HERE:
        assert sorted({(finding.check, finding.incident) for finding in findings}) == [
            tuple(pair) for pair in FINDINGS.get(name, [])
        ], findings


def test_what_the_checks_find_is_about_programs_that_there_are() -> None:
    assert set(FINDINGS) <= {name for folder, name, _ in cases() if folder == HERE}


def test_at_most_six_recordings_are_known_to_differ() -> None:
    assert len(KNOWN) <= 6
    assert all(set(one) == {"program", "broker", "difference", "reason"} for one in KNOWN)
