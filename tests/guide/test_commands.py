"""The command line, called in process (userguide/monitoring: Management Command-line Utilities; userguide/workers)."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import CeleryCommandException
from click.testing import CliRunner

from tasksim import Simulation


@pytest.fixture
def app(app: Celery) -> Celery:
    @app.task(name="tasks.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="tasks.sleep", shared=False)
    def sleep(seconds: float) -> None:
        time.sleep(seconds)

    return app


class Shell:
    """`celery ARGUMENTS`, and what it prints."""

    def __init__(self, app: Celery, capsys: pytest.CaptureFixture[str]) -> None:
        self._app, self._capsys = app, capsys

    def __call__(self, *arguments: str) -> str:
        self._capsys.readouterr()
        self._app.start(argv=list(arguments))
        return re.sub(r"\x1b\[[0-9;]*m", "", self._capsys.readouterr().out)


@pytest.fixture
def celery(app: Celery, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(app, capsys)


def test_status(app: Celery, celery: Shell) -> None:
    with Simulation(app, workers=2) as sim:
        assert celery("status") == "->  w1@sim: OK\n->  w2@sim: OK\n\n2 nodes online.\n"
        sim.kill(worker="w1")
        assert celery("status") == "->  w2@sim: OK\n\n1 node online.\n"
        sim.kill(worker="w2")
        with pytest.raises(CeleryCommandException, match="No nodes replied within time constraint"):
            celery("status")


def test_result_and_call(app: Celery, celery: Shell) -> None:
    with Simulation(app) as sim:
        task_id = celery("call", "tasks.add", "--args", "[2, 3]", "--countdown", "5").strip()
        assert celery("result", task_id) == "5\n"
        assert sim.trace.of(task_id).starts == pytest.approx([5], abs=0.01)
        failed = celery("call", "tasks.add", "-a", '[2, "x"]').strip()
        sim.run()
        assert "TypeError: unsupported operand" in celery("result", "--traceback", failed)


def test_purge(app: Celery, celery: Shell) -> None:
    with Simulation(app, workers=0) as sim:
        for number in range(3):
            app.tasks["tasks.add"].delay(number, 1)
        assert sim.queues["celery"].ready == 3
        assert celery("purge", "-f") == "Purged 3 messages from 1 known task queue.\n"
        assert not any(one.ready for one in sim.queues.values())
        assert celery("purge", "-f", "-Q", "celery") == "No messages purged from 1 queue.\n"


@pytest.mark.parametrize("target", [[], ["-d", "w2@sim"]], ids=["all", "one"])
def test_inspect(app: Celery, celery: Shell, target: list[str]) -> None:
    with Simulation(app, workers=2, concurrency=1) as sim:
        running = app.tasks["tasks.sleep"].apply_async((60,), task_id="t-run")
        app.tasks["tasks.sleep"].apply_async((60,), task_id="t-run-2")
        app.tasks["tasks.add"].apply_async((1, 2), countdown=50, task_id="t-later")
        sim.advance(1)
        online = f"\n{1 if target else 2} node{'' if target else 's'} online.\n"
        assert celery("inspect", "ping", *target).endswith(f"->  w2@sim: OK\n        pong\n{online}")
        assert "* tasks.add\n    * tasks.sleep\n" in celery("inspect", "registered", *target)
        assert "'id': 't-run" in celery("inspect", "active", *target)
        assert "t-later" in celery("inspect", "scheduled")
        assert "- empty -" in celery("inspect", "reserved", *target)
        assert "- empty -" in celery("inspect", "revoked", *target)
        assert '"implementation": "celery.concurrency.prefork:TaskPool"' in celery("inspect", "stats", *target)
        assert "'name': 'celery'" in celery("inspect", "active_queues", *target)
        assert '"result_backend": "redis://"' in celery("inspect", "conf", *target)
        assert '"active"' in celery("inspect", "query_task", running.id)
        assert "software ->" in celery("inspect", "report")


def test_inspect_as_json(app: Celery, celery: Shell) -> None:
    with Simulation(app):
        assert celery("inspect", "ping", "--json") == '{"w1@sim": {"ok": "pong"}}\n'


def test_control(app: Celery, celery: Shell) -> None:
    with Simulation(app, concurrency=1) as sim:
        assert "new rate limit set successfully" in celery("control", "rate_limit", "tasks.add", "10/m")
        assert "time limits set successfully" in celery("control", "time_limit", "tasks.sleep", "5", "10")
        assert "task events enabled" in celery("control", "enable_events")
        assert "task events disabled" in celery("control", "disable_events")
        assert "pool will grow" in celery("control", "pool_grow", "1")
        assert "add consumer more" in celery("control", "add_consumer", "more")
        assert "no longer consuming from more" in celery("control", "cancel_consumer", "more")
        sim.advance(1)
        assert len(sim.workers["w1"].children) == 2
        with pytest.raises(CeleryCommandException):  # it stops, and does not answer
            celery("control", "shutdown")
        sim.advance(3)
        assert sim.workers["w1"].state == "down"


def test_revoke_by_command(app: Celery, celery: Shell) -> None:
    with Simulation(app) as sim:
        result = app.tasks["tasks.add"].apply_async((1, 2), countdown=10)
        sim.advance(1)
        assert "tasks unknown" not in celery("control", "revoke", result.id)
        sim.run()
        assert result.state == "REVOKED"


def test_list_bindings(app: Celery, celery: Shell) -> None:
    with Simulation(app) as sim:
        sim.run()
        lines = celery("list", "bindings").splitlines()
        assert lines[0].split() == ["Queue", "Exchange", "Routing", "Key"]
        assert ["celery", "celery", "celery"] in [line.split() for line in lines]


def test_graph(app: Celery, celery: Shell) -> None:
    with Simulation(app, workers=2):
        workers = celery("graph", "workers")
        assert '"w1@sim"' in workers
        assert '"w2@sim"' in workers
        steps = celery("graph", "bootsteps")
        assert '"Pool" -> "Hub"' in steps


def test_events_dump(app: Celery, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    app.conf.worker_send_task_events = True
    from celery.events import dumper

    lines: list[str] = []
    monkeypatch.setattr(dumper.Dumper, "say", lambda self, line: lines.append(line))
    with Simulation(app) as sim:
        dump = sim.run_in(app.start, ["events", "--dump"], name="events")
        sim.advance(1)
        app.tasks["tasks.add"].delay(1, 2)
        sim.advance(3)
        assert not dump.done
    text = "\n".join(lines)
    assert lines[0] == "-> evdump: starting capture..."
    assert re.search(r"w1@sim \[2026-01-01 12:00:01.*\] task received: tasks.add\(\S+\) args=.1, 2. kwargs=\{\}", text)
    assert re.search(r"\] task succeeded: tasks.add\(.*result=3", text)
    assert "heartbeat: active=0" in text


def test_events_camera(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    app.conf.worker_send_task_events = True
    Camera.pictures = []
    with Simulation(app) as sim:
        sim.run_in(app.start, ["events", "--camera", f"{__name__}.Camera", "--freq", "2"], name="camera")
        app.tasks["tasks.add"].delay(1, 2)
        sim.advance(5)
    assert len(Camera.pictures) >= 2


class Camera:
    """The smallest one that `celery events --camera` takes."""

    pictures: list[int]

    def __new__(cls, state: Any, **options: Any) -> Any:
        from celery.events.snapshot import Polaroid

        class Own(Polaroid):
            def on_shutter(self, state: Any) -> None:
                cls.pictures.append(state.event_count)

        return Own(state, **options)


def test_a_worker_started_by_its_command(app: Celery) -> None:
    with Simulation(app, workers=0) as sim:
        sim.run_in(app.worker_main, ["worker", "-n", "by-hand@%h", "-c", "1", "-l", "INFO"], name="by-hand")
        result = app.tasks["tasks.add"].delay(1, 2)
        assert result.get(timeout=10) == 3
        assert [one.process for one in sim.trace.of(result).attempts] == ["by-hand/1"]
        assert [next(iter(one)).startswith("by-hand@") for one in app.control.ping()] == [True]


def test_a_worker_restarts_itself_at_sighup(app: Celery) -> None:
    with Simulation(app, concurrency=1) as sim:
        before = sim.workers["w1"].pid
        result = app.tasks["tasks.sleep"].delay(5)
        sim.advance(1)
        os.kill(before, signal.SIGHUP)
        sim.advance(10)
        assert (sim.workers["w1"].state, sim.workers["w1"].pid != before) == ("up", True)
        assert result.get() is None  # it was a warm stop
        assert app.tasks["tasks.add"].delay(1, 2).get(timeout=5) == 3


def test_beat_started_by_its_command(app: Celery, tmp_path: Any) -> None:
    app.conf.beat_schedule = {"each 10 s": {"task": "tasks.add", "schedule": 10.0, "args": (1, 2)}}
    with Simulation(app) as sim:
        sim.run_in(app.start, ["beat", "-s", str(tmp_path / "schedule")], name="beat")
        sim.advance(35)
        assert len(sim.trace.where("BeatSent")) == 3


def test_commands_called_with_clicks_runner(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery.bin.celery import celery

    monkeypatch.setitem(globals(), "proj", app)
    with Simulation(app, workers=2):
        found = CliRunner().invoke(celery, ["-A", f"{__name__}:proj", "--no-color", "status"])
        assert found.output.endswith("2 nodes online.\n")
        assert found.exit_code == 0


@pytest.mark.parametrize("broker", ["amqp://"], indirect=True)
def test_the_shell_of_amqp(app: Celery, celery: Shell) -> None:
    with Simulation(app, workers=0) as sim:
        celery("amqp", "exchange.declare", "logs", "direct")
        assert "queue:mine messages:0 consumers:0\nOK\n" in celery("amqp", "queue.declare", "mine")
        celery("amqp", "queue.bind", "mine", "logs", "key")
        celery("amqp", "basic.publish", "hello", "logs", "key")
        assert sim.queues["mine"].ready == 1
        assert "'body': 'hello'" in celery("amqp", "basic.get", "mine")
