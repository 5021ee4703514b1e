"""`tasksim run FILE`: what it prints and how it exits."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shop
from click.testing import CliRunner

from tasksim.cli import main
from tasksim.trace import Trace

ROOT = Path(__file__).parents[2]
WORKER_LOST = ROOT / "scenarios" / "worker_lost.yaml"


@pytest.fixture(autouse=True)
def fresh_shop():
    shop.reset()
    yield
    shop.reset()


def tasksim(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def failing(tmp_path):
    path = tmp_path / "failing.yaml"
    path.write_text(WORKER_LOST.read_text().replace("equals: [7]", "equals: [7, 7]"))
    return path


def test_a_scenario_that_holds_exits_with_0_after_its_timeline():
    result = tasksim("run", WORKER_LOST)
    assert result.exit_code == 0, result.output
    *timeline, verdict = result.output.splitlines()
    assert any("started" in line and "charge" in line for line in timeline)
    assert verdict.startswith("OK      A worker dies while it charges, another takes over: 5 of 5 expectations hold (")


def test_quiet_prints_the_verdict_alone():
    assert len(tasksim("run", WORKER_LOST, "--quiet").output.splitlines()) == 1


def test_an_expectation_that_does_not_hold_exits_with_1_and_how_to_repeat_it(failing):
    result = tasksim("run", failing, "--quiet", "--seed", "5")
    assert result.exit_code == 1
    assert result.output.splitlines()[1:] == [
        f"  {failing}:35: `shop.gateway.charges`: expected [7, 7], found [7]",
        f"again:  tasksim run {failing} --seed 5",
    ]


@pytest.mark.parametrize("source", [None, "version: 1\nap: x", "version: 1\napp: shop.celery:app\ncalls: [{task: x}]"])
def test_a_file_that_cannot_be_run_exits_with_2(tmp_path, source):
    path = tmp_path / "story.yaml"
    if source is not None:
        path.write_text(source)
    result = tasksim("run", path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"tasksim: {path}:")
    assert result.stdout == ""


def test_an_unknown_option_exits_with_2():
    assert tasksim("run", WORKER_LOST, "--sed", "1").exit_code == 2


def test_the_trace_is_saved(tmp_path):
    path = tmp_path / "run.jsonl"
    assert tasksim("run", WORKER_LOST, "--quiet", "--trace", path).exit_code == 0
    assert [attempt.worker for attempt in Trace.load(path).of("pay-7").attempts] == ["w1", "w2"]


def test_a_scenario_runs_where_nothing_but_its_own_folder_is_importable(tmp_path):
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    command = [sys.executable, "-m", "tasksim", "run", str(tmp_path / "scenarios" / "worker_lost.yaml")]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "OK      A worker dies" in result.stdout
