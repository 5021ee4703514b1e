"""`tasksim run FILE`: what it prints and how it exits."""

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shop
from click.testing import CliRunner

from tasksim.check import CHECKS
from tasksim.cli import main
from tasksim.events import Published
from tasksim.trace import Trace

ROOT = Path(__file__).parents[2]
WORKER_LOST = ROOT / "scenarios" / "worker_lost.yaml"


@pytest.fixture(autouse=True)
def fresh_shop():
    shop.reset()
    yield
    shop.reset()


#: Both streams apart, which they always are since click 8.2.
APART = {} if int(importlib.metadata.version("click").split(".")[1]) > 1 else {"mix_stderr": False}


def tasksim(*arguments):
    return CliRunner(**APART).invoke(main, [str(argument) for argument in arguments])


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


def test_a_setup_that_exits_is_no_success(tmp_path):
    path = tmp_path / "story.yaml"
    path.write_text("version: 1\napp: shop.celery:app\nsetup: [sys.exit]\n")
    result = tasksim("run", path)
    assert (result.exit_code, result.stderr) == (2, f"tasksim: {path}:3: `sys.exit` raised SystemExit()\n")


def test_an_unknown_option_exits_with_2():
    assert tasksim("run", WORKER_LOST, "--sed", "1").exit_code == 2


def test_the_trace_is_saved(tmp_path):
    path = tmp_path / "run.jsonl"
    assert tasksim("run", WORKER_LOST, "--quiet", "--trace", path).exit_code == 0
    assert [attempt.worker for attempt in Trace.load(path).of("pay-7").attempts] == ["w1", "w2"]


def test_a_trace_that_cannot_be_saved_is_told_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("tasksim.scenario.run_scenario", lambda *_, **__: pytest.fail("it ran"))
    result = tasksim("run", WORKER_LOST, "--trace", tmp_path / "no" / "run.jsonl")
    assert result.exit_code == 2
    assert f"there is no folder '{tmp_path / 'no'}'; make it first" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full, as Linux has it")
def test_a_trace_that_cannot_be_saved_after_all_is_told_without_a_traceback():
    result = tasksim("run", WORKER_LOST, "--quiet", "--trace", "/dev/full")
    told = "tasksim: /dev/full: the trace cannot be saved: No space left on device\n"
    assert (result.exit_code, result.stderr) == (2, told)


def test_a_trace_may_be_saved_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tasksim("run", WORKER_LOST, "--quiet", "--trace", "run.jsonl").exit_code == 0
    assert Path("run.jsonl").exists()


@pytest.mark.parametrize(
    "source", ['raise RuntimeError("boo")', "import sys\nsys.exit()", "import nosuchdep", "def f(:"]
)
@pytest.mark.parametrize("as_app", [True, False], ids=["app", "function"])
def test_a_module_that_cannot_be_imported_cannot_be_compared(tmp_path, monkeypatch, source, as_app):
    (tmp_path / "uncomparable.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    app, function = ("uncomparable:app", "shop:reset") if as_app else ("shop.celery:app", "uncomparable:calls")
    result = tasksim("compare-eager", function, "--app", app)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("tasksim: ")
    assert "uncomparable" in result.stderr


def test_a_relative_name_cannot_be_compared():
    result = tasksim("compare-eager", ".calls:function", "--app", "shop.celery:app")
    assert result.exit_code == 2
    assert "'.calls:function' cannot be had" in result.stderr


@pytest.fixture
def saved(tmp_path):
    """The trace of worker_lost.yaml under another seed than its own."""
    path = tmp_path / "run.jsonl"
    assert tasksim("run", WORKER_LOST, "--quiet", "--seed", "3", "--trace", path).exit_code == 0
    return path


def test_a_trace_says_what_was_run(saved):
    metadata = Trace.load(saved).metadata
    assert metadata["scenario"] == str(WORKER_LOST)
    assert metadata["sha256"] == hashlib.sha256(WORKER_LOST.read_bytes()).hexdigest()
    assert metadata["seed"] == 3
    assert {"python", "celery", "kombu", "billiard"} <= set(metadata["versions"])


def test_a_replay_is_the_same(saved):
    result = tasksim("replay", saved)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"SAME    {saved}: {len(Trace.load(saved))} events (seed 3)\n"


def test_a_replay_that_is_not_the_same_says_where_first(saved):
    text = saved.read_text()
    saved.write_text(text.replace('"state":"SUCCESS"', '"state":"FAILURE"', 1))
    result = tasksim("replay", saved)
    assert result.exit_code == 1
    first, *rest = result.stdout.splitlines()
    assert first.startswith(f"DIFFERENT  {saved}: the traces differ at event ")
    assert first.endswith("StateStored with state 'FAILURE' against 'SUCCESS'")
    assert rest[-2].startswith("- ")
    assert rest[-1].startswith("+ ")


def test_a_replay_notes_other_versions(saved):
    saved.write_text(re.sub(r'"celery":"[^"]*"', '"celery":"5.0.0"', saved.read_text(), count=1))
    result = tasksim("replay", saved)
    assert result.exit_code == 0
    assert result.stdout.startswith("note    celery was 5.0.0 then, and is ")


def test_a_trace_that_does_not_say_what_was_run_cannot_be_run_again(tmp_path):
    Trace().save(tmp_path / "own.jsonl")
    result = tasksim("replay", tmp_path / "own.jsonl")
    assert result.exit_code == 2
    assert "only what `tasksim run FILE --trace` writes can be run again" in result.stderr


def test_a_scenario_that_has_changed_since_cannot_be_compared(tmp_path):
    story, trace = tmp_path / "story.yaml", tmp_path / "run.jsonl"
    story.write_text(WORKER_LOST.read_text())
    assert tasksim("run", story, "--quiet", "--trace", trace).exit_code == 0
    story.write_text(WORKER_LOST.read_text() + "# changed\n")
    result = tasksim("replay", trace)
    assert result.exit_code == 2
    assert f"its scenario {story} has changed since it was written" in result.stderr
    assert tasksim("replay", trace, "--scenario", WORKER_LOST).exit_code == 0


def test_a_scenario_that_has_moved_is_looked_for_beside_the_trace(tmp_path, monkeypatch):
    (tmp_path / "then").mkdir()
    monkeypatch.chdir(tmp_path / "then")
    Path("story.yaml").write_text(WORKER_LOST.read_text())
    assert tasksim("run", "story.yaml", "--quiet", "--trace", "run.jsonl").exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert tasksim("replay", "then/run.jsonl").exit_code == 0
    Path("then/story.yaml").unlink()
    result = tasksim("replay", "then/run.jsonl")
    assert (result.exit_code, result.stderr) == (2, "tasksim: story.yaml: cannot be read: No such file or directory\n")


def test_a_trace_is_checked(saved, tmp_path):
    result = tasksim("check", saved)
    assert (result.exit_code, result.stdout) == (0, f"OK      {saved}: nothing found by {len(CHECKS)} checks\n")
    path = tmp_path / "lost.jsonl"
    Trace([Published(0.0, "client", 1, "", "celery", "a", "shop.charge", 0)]).save(path)
    result = tasksim("check", path, "--only", "nothing_lost")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "nothing_lost: shop.charge[a] was published and put into no queue (law S41)",
        "    0  client  published  charge  to celery  [a]",
        "",
        f"FAILED  {path}: 1 finding by 1 check",
    ]


def test_a_trace_that_cannot_be_checked_exits_with_2(saved, tmp_path):
    assert "there is no check 'nothing'" in tasksim("check", saved, "--only", "nothing").stderr
    result = tasksim("check", tmp_path / "none.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_scenario_runs_where_nothing_but_its_own_folder_is_importable(tmp_path):
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    command = [sys.executable, "-m", "tasksim", "run", str(tmp_path / "scenarios" / "worker_lost.yaml")]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "OK      A worker dies" in result.stdout
