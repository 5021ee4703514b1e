"""Each planted mutant of Celery breaks a law, and a mutant taken back leaves none broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.laws.base import LAWS, check
from tests.laws.laws import load
from tests.laws.mutant import plant

load()
FOLDER = Path(__file__).parent / "mutants"
ROOT = Path(__file__).parents[2]
#: A law that catches it, of several.
CAUGHT_BY = {
    "acks_before_the_run": "law_s2_a_late_ack_comes_after_result_hooks_and_signals",
    "backs_off_by_one_too_few": "law_s27_backoff_is_the_factor_times_two_to_the_retries_below_its_maximum",
    "drops_the_late_ack": "law_s2_a_late_ack_comes_after_result_hooks_and_signals",
    "forgets_that_it_was_delivered_before": "law_s5_reject_with_requeue_brings_a_late_message_back",
    "forgets_to_count_a_retry": "law_s13_the_order_of_a_retry",
    "ignores_expiry": "law_s31_expiry_is_tested_when_a_slot_is_free_and_never_once_the_body_runs",
    "jitters_only_the_upper_half": "law_s28_jitter_is_a_whole_number_from_0_to_the_backoff_and_each_occurs",
    "requeues_a_rejected_failure": "law_s4_a_late_failure_is_acked_or_rejected_without_requeue_as_told",
    "retries_never_expire": "law_s31_a_retry_expires_when_its_first_message_would",
    "retries_once_too_often": "law_s21_there_are_max_retries_and_one_runs",
}


def test_the_table_names_every_mutant() -> None:
    assert set(CAUGHT_BY) == {path.stem for path in FOLDER.glob("[a-z]*.py")}


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_a_mutant_is_caught_and_taken_back(name: str) -> None:
    law = LAWS[CAUGHT_BY[name]]
    take_back = plant(FOLDER / f"{name}.py")
    assert take_back is not None
    try:
        report = check(law, 12, shrink=False)
    finally:
        take_back()
    assert isinstance(report.error, AssertionError), report
    assert report.smallest is not None
    report = check(law, 1)
    assert report.error is None, f"still planted: {report.error}"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.laws", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_names_the_law_and_the_smallest_case() -> None:
    done = run("--mutant", str(FOLDER / "ignores_expiry.py"), "--law", CAUGHT_BY["ignores_expiry"], "--examples", "12")
    assert done.returncode == 1, done.stderr
    assert "S31 does not hold" in done.stdout
    assert "smallest case: law_s31" in done.stdout


def test_the_command_is_content_without_a_mutant_and_tells_the_shares() -> None:
    done = run("--law", "law_s2_a_late_acked_task", "--examples", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill 100 %" in done.stdout


def test_a_file_without_a_mutant_is_no_verdict(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("", encoding="utf-8")
    done = run("--mutant", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no mutant can be planted" in done.stderr
