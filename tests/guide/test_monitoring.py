"""Events and what is fed by them: Receiver, State, Camera, the curses monitor, Flower (userguide/monitoring)."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.events.snapshot import Polaroid

from tasksim import Simulation

Event = dict[str, Any]


@pytest.fixture
def app(broker: str) -> Celery:
    app = Celery("proj", broker=broker, backend="redis://", worker_send_task_events=True, task_send_sent_event=True)

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="fail", shared=False, bind=True, max_retries=1)
    def fail(self: Any) -> None:
        raise self.retry(exc=KeyError("no"), countdown=2)

    return app


def monitor(app: Celery, handlers: dict[str, Callable[[Event], None]]) -> None:
    """The guide's `my_monitor`, a program of its own."""
    with app.connection() as connection:
        recv = app.events.Receiver(connection, handlers=handlers)
        recv.capture(limit=None, timeout=None, wakeup=True)


def test_the_guides_monitor_announces_failed_tasks(app: Celery) -> None:
    announced = []
    state = app.events.State()

    def announce_failed_tasks(event: Event) -> None:
        state.event(event)
        # task name is sent only with -received event, and state
        # will keep track of this for us.
        task = state.tasks.get(event["uuid"])
        announced.append(f"TASK FAILED: {task.name}[{task.uuid}] {task.info()['exception']}")

    with Simulation(app) as sim:
        sim.run_in(monitor, app, {"task-failed": announce_failed_tasks, "*": state.event}, name="monitor")
        result = app.tasks["fail"].delay()
        sim.advance(5)
    assert announced == [f"TASK FAILED: fail[{result.id}] KeyError('no')"]


def test_each_event_of_a_task_is_sent_with_its_fields(app: Celery) -> None:
    seen: list[Event] = []
    with Simulation(app, concurrency=1) as sim:
        sim.run_in(monitor, app, {"*": seen.append})
        sim.advance(1)
        result = app.tasks["fail"].delay()
        revoked = app.tasks["add"].apply_async((1, 2), countdown=3)
        sim.advance(1)
        revoked.revoke()
        sim.advance(5)
        of_task = sorted((one for one in seen if one.get("uuid") == result.id), key=lambda one: one["timestamp"])
        assert Counter(one["type"] for one in of_task) == {
            "task-sent": 2, "task-received": 2, "task-started": 2, "task-retried": 1, "task-failed": 1,
        }  # fmt: skip
        first = {one["type"]: one for one in reversed(of_task)}
        sent, received, started = first["task-sent"], first["task-received"], first["task-started"]
        retried, failed = first["task-retried"], first["task-failed"]
        assert (sent["queue"], sent["name"], sent["retries"]) == ("celery", "fail", 0)
        assert (received["hostname"], received["name"], received["args"]) == ("w1@sim", "fail", "()")
        assert started["pid"] == sim.workers["w1"].pid
        assert retried["exception"] == "KeyError('no')"
        assert max(one["retries"] for one in of_task if one["type"] == "task-received") == 1
        assert failed["exception"] == "KeyError('no')"
        assert failed["timestamp"] - started["timestamp"] == pytest.approx(2, abs=0.01)
    kinds = [one["type"] for one in seen if one.get("uuid") == revoked.id]
    assert kinds == ["task-sent", "task-received", "task-revoked"]


def test_workers_say_that_they_are_online_alive_and_offline(app: Celery) -> None:
    seen: list[Event] = []
    with Simulation(app, workers=0) as sim:
        sim.run_in(monitor, app, {"worker-online": seen.append, "worker-heartbeat": seen.append,
                                  "worker-offline": seen.append})  # fmt: skip
        sim.advance(1)
        sim.start_worker("w1", wait=True)
        sim.advance(5)
        sim.stop(worker="w1")
        sim.advance(2)
    kinds = [kind for kind, _ in itertools.groupby(one["type"] for one in seen)]
    assert kinds == ["worker-online", "worker-heartbeat", "worker-offline"]
    assert {(one["hostname"], one["sw_ident"], one["freq"]) for one in seen} == {("w1@sim", "py-celery", 2.0)}


def test_state_knows_workers_and_tasks(app: Celery) -> None:
    state = app.events.State()
    with Simulation(app, workers=2, concurrency=1) as sim:
        sim.run_in(monitor, app, {"*": state.event})
        sim.advance(1)
        results = [app.tasks["add"].delay(number, 1) for number in range(4)]
        sim.advance(1)
        assert sorted(one.hostname for one in state.alive_workers()) == ["w1@sim", "w2@sim"]
        assert {one.state for one in state.tasks.values()} == {"SUCCESS"}
        assert {uuid for uuid, _ in state.tasks_by_type("add")} == {one.id for one in results}
        assert len(list(state.tasks_by_worker("w1@sim"))) == 2
        assert state.tasks[results[0].id].result == "1"
        sim.kill(worker="w2")
        sim.advance(60)
        assert [one.hostname for one in state.alive_workers()] == ["w1@sim"]


def test_a_camera_takes_a_picture_each_second(app: Celery) -> None:
    pictures = []

    class DumpCam(Polaroid):
        clear_after = True  # clear after flush (incl, state.event_count).

        def on_shutter(self, state: Any) -> None:
            if not state.event_count:
                return  # No new events since last snapshot.
            pictures.append((round(sim.now), sorted(state.workers), state.task_count))

    def main(app: Celery, freq: float = 1.0) -> None:
        state = app.events.State()
        with app.connection() as connection:
            recv = app.events.Receiver(connection, handlers={"*": state.event})
            with DumpCam(state, freq=freq):
                recv.capture(limit=None, timeout=None)

    with Simulation(app) as sim:
        sim.run_in(main, app)
        sim.advance(2.5)
        app.tasks["add"].delay(1, 2)
        sim.advance(2)
    assert (3, ["w1@sim"], 1) in pictures
    assert len(pictures) >= 2


def test_custom_events_of_a_task_and_of_a_client(app: Celery) -> None:
    seen: list[Event] = []

    @app.task(bind=True, shared=False)
    def upload(self: Any) -> None:
        for percent in (50, 100):
            self.send_event("task-upload-progress", progress=percent)

    with Simulation(app) as sim:
        sim.run_in(monitor, app, {"task-upload-progress": seen.append, "shop-opened": seen.append})
        sim.advance(1)
        result = upload.delay()
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("shop-opened", doors=2)
        sim.advance(1)
    assert {(one["uuid"], one["progress"]) for one in seen if "progress" in one} == {(result.id, 50), (result.id, 100)}
    assert [one["doors"] for one in seen if one["type"] == "shop-opened"] == [2]


def test_capture_ends_at_its_limit_and_at_its_timeout(app: Celery) -> None:
    seen: list[Event] = []
    with Simulation(app) as sim:
        app.control.ping()
        with app.connection() as connection:
            recv = app.events.Receiver(connection, handlers={"*": seen.append})
            recv.capture(limit=3, timeout=None)
            assert 1 <= len(seen) <= 3
            before = sim.now
            sim.kill(worker="w1")
            with pytest.raises(TimeoutError):
                recv.capture(limit=None, timeout=30)
    assert sim.now - before == pytest.approx(30)


class Screen:
    """What the curses monitor asks of its display; a terminal is not needed for its state."""

    def init_screen(self) -> None: ...

    def resetscreen(self) -> None: ...

    def getmaxyx(self) -> tuple[int, int]:
        return 40, 120


def test_the_curses_monitors_state_is_fed(app: Celery) -> None:
    cursesmon = pytest.importorskip("celery.events.cursesmon")
    state = app.events.State()
    with Simulation(app) as sim:
        sim.run_in(cursesmon.capture_events, app, state, Screen(), name="evtop")
        sim.advance(1)
        result = app.tasks["add"].delay(1, 2)
        sim.advance(1)
        monitor = cursesmon.CursesMonitor(state, app)
        monitor.win = Screen()
        assert [(uuid, task.name, task.state) for uuid, task in monitor.tasks] == [(result.id, "add", "SUCCESS")]
        assert monitor.workers == ["w1@sim"]


def test_flowers_state_is_fed(app: Celery) -> None:
    flower = pytest.importorskip("flower.events")

    class Loop:
        """Runs what Flower's thread hands to tornado's loop."""

        def add_callback(self, callback: Callable[[], None]) -> None:
            callback()

    with Simulation(app) as sim:
        events = flower.Events(app, Loop(), enable_events=False, max_tasks_in_memory=100)
        events.start()
        time.sleep(1)
        result = app.tasks["add"].delay(1, 2)
        sim.advance(1)
        assert events.state.tasks[result.id].state == "SUCCESS"
        assert events.state.counter["w1@sim"]["task-succeeded"] == 1
        assert [one.hostname for one in events.state.alive_workers()] == ["w1@sim"]
