"""The benchmarks run and write what they say. How fast they are is no matter of a test."""

import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as command
from benchmarks.share import Shares, owner_of
from benchmarks.table import BENCHMARKS, Outcome, Runner


def test_the_command_line_measures_prints_and_writes(tmp_path, capsys, monkeypatch):
    file = tmp_path / "numbers.json"
    monkeypatch.setattr(Runner, "run", lambda *_, **__: {"ms": 12.5})
    assert command.main(["--quick", "--only", "fresh_world_ms", "--json", str(file)]) == 0
    assert "fresh_world_ms" in capsys.readouterr().out
    written = json.loads(file.read_text())
    assert written["fresh_world_ms"] == 12.5
    assert written["quick"] is True
    assert set(written["packages"]) == set(command.PACKAGES)


def test_a_missed_bound_is_named_and_is_the_exit_code(capsys, monkeypatch):
    monkeypatch.setattr(Runner, "run", lambda *_, **__: {"ms": 1000.0})
    assert command.main(["--only", "fresh_world_ms"]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.arguments(["--only", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("run", "options", "expected"),
    [
        ("fresh_world", {"repeats": 1}, "ms"),
        ("simulated", {"tasks": 20}, "cpu"),
        ("queued", {"tasks": 20}, "per_task"),
        ("beat", {"hours": 1}, "seconds"),
    ],
)
def test_a_run_in_a_process_of_its_own_gives_its_number(run, options, expected):
    assert Runner(quick=True).run(run, **options)[expected] > 0


def test_a_run_that_fails_says_why():
    with pytest.raises(SystemExit, match="KeyError"):
        Runner().run("nonsense")


def test_every_benchmark_has_a_meaning_and_at_most_one_bound():
    for one in BENCHMARKS:
        assert one.meaning
        assert one.least is None or one.most is None
        assert "\n" not in command.line(one, Outcome(1.0))


def test_samples_go_to_the_innermost_package_outside_the_standard_library():
    def frame(name, back=None):
        return SimpleNamespace(f_globals={"__name__": name}, f_back=back)

    user = frame("celery.app.trace", frame("tasksim.kernel.loop"))
    assert owner_of(user) == "celery"
    assert owner_of(frame("json.decoder", user)) == "celery"
    assert owner_of(frame("threading")) == "python"


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer takes the signal's time")
def test_shares_add_up_to_the_time_that_was_spent():
    with Shares() as shares:
        for _ in range(200):
            sum(range(50_000))
    assert shares.samples
    assert shares.of(__name__.partition(".")[0]) <= 1.0
