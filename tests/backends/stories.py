"""What a result store must do, as Celery documents it; told once, and run on each store.

Each story takes a `Store`: the URL, and what Celery says that this kind of store can do.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery, Task, chain, chord, group
from celery.exceptions import ChordError, ImproperlyConfigured
from celery.result import GroupResult

from tasksim import Simulation
from tests.scene import Trouble, make_app


@dataclass(frozen=True)
class Store:
    """A kind of result store.

    Attributes:
        url: of the store, or the name of a class.
        shared: any process can read a result that any other has stored; else only who called the task.
        forgets: "by itself" when a result has expired, "at cleanup", or "never".
        pushes: tells each new state to who waits for the result (`on_message`).
        chords: "counted" by the store, "unlocked" by a task that looks again and again, or "refused".
        djangos: has columns of its own: a traceback only with `result_extended`, and other names.
    """

    url: str
    shared: bool = True
    forgets: str = "by itself"
    pushes: bool = False
    chords: str = "counted"
    djangos: bool = False

    def app(self, **settings: Any) -> Celery:
        """An app on this store."""
        return make_app(settings.pop("broker", "amqp://"), self.url, **settings)


def add_of(app: Celery, **options: Any) -> Task:
    """A task that adds, after a second."""

    @app.task(name="add", shared=False, **options)
    def add(x: float, y: float) -> float:
        time.sleep(1)
        return x + y

    return add


def at(seconds: float) -> datetime.datetime:
    """The virtual instant so long after the start."""
    return datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)


def seen_by_another_process(sim: Simulation, app: Celery, task_id: str) -> tuple[str, Any]:
    """State and result as a second client reads them."""

    def look() -> tuple[str, Any]:
        result = app.AsyncResult(task_id)
        return result.state, result.result

    found: tuple[str, Any] = sim.run_in(look).result()
    return found


def states_are_there_while_they_hold(store: Store) -> None:
    app = store.app(task_track_started=True)

    @app.task(name="steps", bind=True, shared=False, default_retry_delay=10)
    def steps(self: Any) -> str:
        time.sleep(1)
        if self.request.retries == 0:
            raise self.retry(exc=Trouble("not yet"))
        self.update_state(state="CHARGING", meta={"done": 1, "of": 3})
        time.sleep(5)
        return "paid"

    with Simulation(app) as sim:
        result = steps.delay()
        sim.advance(0.5)
        assert result.state == "STARTED"
        sim.advance(1)
        assert (result.state, type(result.info), str(result.info)) == ("RETRY", Trouble, "not yet")
        sim.advance(11)
        assert (result.state, result.info) == ("CHARGING", {"done": 1, "of": 3})
        if store.shared:
            assert seen_by_another_process(sim, app, result.id) == ("CHARGING", {"done": 1, "of": 3})
        assert result.get(timeout=30) == "paid"
        assert sim.trace.of(result).states == ["STARTED", "RETRY", "STARTED", "CHARGING", "SUCCESS"]
        assert app.AsyncResult("nobody").state == "PENDING"
        if store.shared:
            assert seen_by_another_process(sim, app, result.id) == ("SUCCESS", "paid")
            done = result.date_done
            assert abs(done.replace(tzinfo=done.tzinfo or datetime.UTC) - at(17)) < datetime.timedelta(seconds=2)


def a_failure_keeps_its_exception_and_traceback(store: Store) -> None:
    app = store.app()

    @app.task(name="fails", shared=False)
    def fails() -> None:
        raise KeyError("order")

    with Simulation(app):
        failed = fails.delay()
        with pytest.raises(KeyError, match="order"):
            failed.get(timeout=30)
        assert failed.state == "FAILURE"
        assert store.djangos or "KeyError: 'order'" in failed.traceback


def a_forgotten_result_is_gone(store: Store) -> None:
    app = store.app()
    add = add_of(app)
    with Simulation(app) as sim:
        result, other = add.delay(1, 2), add.delay(3, 4)
        assert (result.get(timeout=30), other.get(timeout=30)) == (3, 7)
        result.forget()
        assert app.AsyncResult(result.id).state == "PENDING"
        if store.shared:
            assert seen_by_another_process(sim, app, result.id)[0] == "PENDING"
            assert seen_by_another_process(sim, app, other.id) == ("SUCCESS", 7)


def an_expired_result_is_gone(store: Store) -> None:
    if not store.shared:
        return
    app = store.app(result_expires=100)
    add = add_of(app)

    def state(result: Any) -> str:
        return seen_by_another_process(sim, app, result.id)[0]

    with Simulation(app) as sim:
        old = add.delay(1, 2)
        sim.advance(60)
        young = add.delay(1, 2)
        sim.advance(20)
        app.backend.cleanup()
        assert (state(old), state(young)) == ("SUCCESS", "SUCCESS")
        sim.advance(40)
        assert state(old) == ("PENDING" if store.forgets == "by itself" else "SUCCESS")
        app.backend.cleanup()
        assert state(old) == ("SUCCESS" if store.forgets == "never" else "PENDING")
        assert state(young) == "SUCCESS"


def beat_cleans_up_at_four_in_the_morning(store: Store) -> None:
    app = store.app(result_expires=datetime.timedelta(minutes=5))
    add = add_of(app)
    with Simulation(app, beat=True, start=at(15.8 * 3600)) as sim:
        result = add.delay(1, 2)
        sim.run(until=600)
        cleans = store.forgets == "at cleanup"
        if store.shared:
            before = seen_by_another_process(sim, app, result.id)[0]
            assert before == ("PENDING" if store.forgets == "by itself" else "SUCCESS")
        sim.run(until=800)
        if store.shared:
            after = seen_by_another_process(sim, app, result.id)[0]
            assert after == ("SUCCESS" if store.forgets == "never" else "PENDING")
        cleanings = [event.time for event in sim.trace.where("BeatSent")]
        assert cleanings == ([pytest.approx(720, abs=1)] if cleans else [])


def what_is_ignored_is_not_stored(store: Store) -> None:
    app = store.app()
    add = add_of(app, ignore_result=True)

    @app.task(name="quiet", shared=False, ignore_result=True)
    def quiet() -> None:
        raise Trouble("heard by nobody")

    @app.task(name="loud", shared=False, ignore_result=True, store_errors_even_if_ignored=True)
    def loud() -> None:
        raise Trouble("heard all the same")

    with Simulation(app) as sim:
        ignored, silent, stored = add.delay(1, 2), quiet.delay(), loud.delay()
        sim.run()
        assert app.AsyncResult(ignored.id).state == "PENDING"
        assert app.AsyncResult(silent.id).state == "PENDING"
        assert [sim.trace.of(one).states for one in (ignored, silent, stored)] == [[], [], ["FAILURE"]]
        if store.shared:
            assert app.AsyncResult(stored.id).state == "FAILURE"


def an_extended_result_says_what_was_called(store: Store) -> None:
    app = store.app(result_extended=True)
    app.conf.task_routes = {"add": {"queue": "sums"}}
    add = add_of(app, bind=False)
    with Simulation(app, workers={"w1": {"queues": ["sums"]}}):
        result = add.delay(1, y=2)
        assert result.get(timeout=30) == 3
        if store.djangos:
            assert (result.worker, result.args, result.kwargs) == ("w1@sim", "(1,)", "{'y': 2}")
            return
        named = (result.name, list(result.args or ()), result.kwargs, result.worker, result.retries, result.queue)
        assert named == ("add", [1], {"y": 2}, "w1@sim", 0, "sums")


def progress_is_told_where_the_store_can(store: Store) -> None:
    app = store.app()

    @app.task(name="climbs", bind=True, shared=False)
    def climbs(self: Any) -> str:
        for step in range(1, 4):
            time.sleep(1)
            self.update_state(state="PROGRESS", meta={"step": step})
        time.sleep(1)
        return "top"

    told: list[tuple[float, str, Any]] = []
    with Simulation(app) as sim:

        def note(meta: dict[str, Any]) -> None:
            told.append((round(sim.now, 3), meta["status"], meta["result"]))

        result = climbs.delay()
        if not store.pushes:
            with pytest.raises(ImproperlyConfigured, match="does not support on_message"):
                result.get(timeout=30, on_message=note)
            assert result.get(timeout=30) == "top"
            return
        assert result.get(timeout=30, on_message=note) == "top"
        steps = [(step, "PROGRESS", {"step": step}) for step in (1, 2, 3)]
        assert told == [*steps, (4, "SUCCESS", "top")]


def a_chord_waits_for_its_header(store: Store) -> None:
    app = store.app()
    add = add_of(app)

    @app.task(name="total", shared=False)
    def total(numbers: list[float]) -> float:
        return sum(numbers)

    with Simulation(app, workers=2, concurrency=1) as sim:
        call = chord([add.s(number, number) for number in range(5)], total.s())
        if store.chords == "refused":
            with pytest.raises(NotImplementedError, match="does not support chords"):
                call.delay()
            return
        result = call.delay()
        assert result.get(timeout=60) == 20
        last_header = max(one.ended for one in sim.trace.of(add).attempts)
        looks = len(sim.trace.of("celery.chord_unlock").attempts)
        if store.chords == "counted":
            assert (looks, sim.trace.of(total).starts) == (0, [pytest.approx(last_header, abs=0.1)])
        else:
            assert looks >= 2  # each a second after the one before, the last one finds the header done
            assert sim.trace.of(total).starts == [pytest.approx(last_header + 0.5, abs=0.7)]


def a_chord_whose_header_fails_fails(store: Store) -> None:
    if store.chords == "refused":
        return
    app = store.app()
    add = add_of(app)

    @app.task(name="fails", shared=False)
    def fails() -> None:
        raise Trouble("in the header")

    @app.task(name="body", shared=False)
    def body(_: Any) -> str:
        return "never"

    with Simulation(app) as sim:
        result = chord([add.s(1, 2), fails.s()], body.s()).delay()
        with pytest.raises(Trouble, match="in the header"):
            result.get(timeout=60)
        sim.run()
        state, error = seen_by_another_process(sim, app, result.id)
        assert (state, type(error)) == ("FAILURE", ChordError)
        assert "in the header" in str(error)
        assert not sim.trace.of(body).attempts


def a_group_can_be_saved_and_restored(store: Store) -> None:
    app = store.app()
    add = add_of(app)
    with Simulation(app) as sim:
        result = group(add.s(number, 1) for number in range(3)).delay()
        if not store.shared:
            with pytest.raises(NotImplementedError):
                result.save()
            return
        result.save()
        sim.run()

        def restored() -> Any:
            found = GroupResult.restore(result.id, app=app)
            return found and (found.completed_count(), found.get(timeout=5))

        assert sim.run_in(restored).result() == (3, [1, 2, 3])
        result.delete()
        assert sim.run_in(restored).result() is None


def children_are_known_by_their_parent(store: Store) -> None:
    app = store.app()
    add = add_of(app)

    @app.task(name="parent", shared=False)
    def parent() -> str:
        add.delay(1, 2)
        group(add.s(number, 2) for number in (3, 5)).delay()
        return "done"

    with Simulation(app) as sim:
        result = parent.delay()
        assert result.get(timeout=30) == "done"
        sim.run()
        if store.shared:
            single, several = result.children
            assert single.get(timeout=30) == 3
            assert several.get(timeout=30) == [5, 7]
            values = [value for _, value in result.collect()]
            assert values[0] == "done"
            assert 3 in values
        last = chain(add.s(1, 2), add.s(10))()
        assert last.get(timeout=30) == 13
        assert last.parent.get(timeout=30) == 3


def the_result_is_stored_though_a_worker_was_killed(store: Store) -> None:
    app = store.app(task_acks_late=True, task_track_started=True)
    add = add_of(app)
    with Simulation(app, workers=2) as sim:
        sim.kill(worker="w1", at=0.5)
        results = [add.delay(number, 1) for number in range(4)]
        assert [result.get(timeout=60) for result in results] == [1, 2, 3, 4]
        assert any(one.state == "LOST" for one in sim.trace.attempts)
        assert {one.worker for one in sim.trace.attempts if one.state == "SUCCESS"} == {"w2"}
        assert sim.check() == []


STORIES: tuple[Callable[[Store], None], ...] = (
    states_are_there_while_they_hold,
    a_failure_keeps_its_exception_and_traceback,
    a_forgotten_result_is_gone,
    an_expired_result_is_gone,
    beat_cleans_up_at_four_in_the_morning,
    what_is_ignored_is_not_stored,
    an_extended_result_says_what_was_called,
    progress_is_told_where_the_store_can,
    a_chord_waits_for_its_header,
    a_chord_whose_header_fails_fails,
    a_group_can_be_saved_and_restored,
    children_are_known_by_their_parent,
    the_result_is_stored_though_a_worker_was_killed,
)
