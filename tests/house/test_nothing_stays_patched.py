"""After a simulation everything is as before: what was replaced, what Celery sets in the interpreter, what was open."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from celery import Celery, current_app
from celery.contrib.testing.app import setup_default_app
from celery.contrib.testing.worker import start_worker

from tasksim import Simulation
from tasksim.dropin import DropIn
from tasksim.errors import PatchMissing, TasksimError, UnsupportedError
from tasksim.patching import clock
from tasksim.patching.table import Patches, Row, current_value, find
from tasksim.world import ROWS, kombu_redis_rows, redis_rows
from tests import loggers
from tests.house import snapshot

AMQP, REDIS = "amqp://", "redis://127.0.0.1:6379/0"
BACKEND = "redis://127.0.0.1:6380/1"

#: What a simulation may leave behind, by the beginning of its path, and why.
LEFTOVERS: dict[snapshot.Path, str] = {}
_COUNTED = "a worker in the test's own process counts its tasks there, in life too"
_DISPATCH_TABLE = ("reduction", "ForkingPickler", "_copyreg_dispatch_table", "contents")
#: What the drop-in may leave besides.
LEFT_BY_OWN_WORKERS: dict[snapshot.Path, str] = {
    ("celery.worker.state", "all_total_count", "contents"): _COUNTED,
    ("celery.worker.heartbeat", "all_total_count", "contents"): _COUNTED,
    ("celery._state", "_apps"): "what never ended holds its app",
}
if importlib.util.find_spec("tblib") is not None:
    LEFT_BY_OWN_WORKERS |= dict.fromkeys(
        ((f"{package}.{_DISPATCH_TABLE[0]}", *_DISPATCH_TABLE[1:]) for package in ("multiprocessing", "billiard")),
        "Celery's test worker lets tracebacks be pickled",
    )


def make_app(broker: str, backend: str = BACKEND, **settings: object) -> Celery:
    app = Celery("house", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, **settings)

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="sleep", shared=False)
    def sleep(seconds: float) -> None:
        time.sleep(seconds)

    @app.task(name="flaky", shared=False, bind=True, max_retries=3)
    def flaky(self: object) -> str:
        if self.request.retries < 1:  # type: ignore[attr-defined]
            raise self.retry(countdown=5)  # type: ignore[attr-defined]
        return "done"

    app.conf.beat_schedule = {"every": {"task": "add", "schedule": 10.0, "args": (1, 2)}}
    return app


def live(broker: str) -> None:
    """A retry, a killed pool process, a killed worker, beat, inspect, a result that is waited for."""
    app = make_app(broker, task_acks_late=True)
    with Simulation(app, workers=2, concurrency=2, beat=True) as sim:
        retried, slept = app.tasks["flaky"].delay(), app.tasks["sleep"].delay(60.0)
        assert app.tasks["add"].delay(1, 2).get(timeout=10) == 3
        assert retried.get(timeout=30) == "done"
        assert app.control.inspect(timeout=1.0).ping()
        sim.kill(task=slept)
        sim.run(until=20.0)
        sim.kill(worker="w1")
        sim.run(until=40.0)


def left_by_an_exception(broker: str) -> None:
    app = make_app(broker)
    with contextlib.suppress(ZeroDivisionError), Simulation(app, workers=1) as sim:
        app.tasks["sleep"].delay(60.0)
        sim.run(until=2.0)
        raise ZeroDivisionError


def not_set_up(broker: str) -> None:
    """The set-up fails, at its beginning and in the middle."""
    with pytest.raises(UnsupportedError), Simulation(make_app("sqs://")):
        pass
    with pytest.raises(TasksimError), Simulation(make_app(broker), cells=["nowhere.to_be_found"]):
        pass
    app = make_app(broker)
    with pytest.raises(TasksimError), Simulation(app, start=17):
        pass


def workers_that_do_not_start(broker: str) -> None:
    app = make_app(broker, worker_pool="no.such:Pool")
    with pytest.raises(TasksimError), Simulation(app, workers=1) as sim:
        sim.run()


def dropped_in(broker: str) -> None:
    """Workers of Celery's own testing tools in the test's process: one after the other, as they share an event loop."""
    with warnings.catch_warnings(), DropIn() as world:
        warnings.simplefilter("default")  # such workers have the test's own filters, and libraries warn each other
        for pool in ("prefork", "solo", "threads"):
            app = make_app(broker, worker_hijack_root_logger=False, broker_heartbeat=0)
            with setup_default_app(app), start_worker(app, pool=pool, perform_ping_check=False):
                assert app.tasks["flaky"].delay().get(timeout=30) == "done"
                slept = app.tasks["sleep"].delay(60.0)
                assert slept.get(timeout=100) is None
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        assert world.lives()


LIVES: tuple[Callable[[str], None], ...] = (
    live, left_by_an_exception, not_set_up, workers_that_do_not_start, dropped_in,
)  # fmt: skip


def _is_leftover(path: snapshot.Path, known: Iterable[snapshot.Path]) -> bool:
    return any(path[: len(start)] == start for start in known)


@pytest.fixture(scope="module", autouse=True)
def _imported() -> Iterator[None]:
    """Modules that Celery imports on the way, and their caches, are there."""
    with loggers.as_before():
        for broker in (AMQP, REDIS):
            live(broker)
            dropped_in(broker)
        yield
    gc.collect()
    gc.freeze()  # what a hundred simulations have left need not be looked through in the tests that follow


@pytest.mark.parametrize("broker", [AMQP, REDIS], ids=["amqp", "redis"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_everything_is_as_before(life: Callable[[str], None], broker: str) -> None:
    current_app.conf.enable_utc  # noqa: B018 - where there is no app, that of Celery is made, as a worker in this process does
    gc.collect()
    before = snapshot.take()
    life(broker)
    gc.collect()
    after = snapshot.take()
    known = {**LEFTOVERS, **(LEFT_BY_OWN_WORKERS if life is dropped_in else {})}
    found = {
        ".".join(path): values
        for path, values in snapshot.differences(before, after).items()
        if not _is_leftover(path, known)
    }
    assert not found


def test_every_leftover_is_still_left() -> None:
    before = snapshot.take()
    live(AMQP)
    live(REDIS)
    dropped_in(AMQP)
    left = set(snapshot.differences(before, snapshot.take()))
    for start in (*LEFTOVERS, *LEFT_BY_OWN_WORKERS):
        assert any(path[: len(start)] == start for path in left), f"{start}: strike it from the list"


def test_what_a_killed_task_has_redirected_is_put_back(tmp_path: Path) -> None:
    app = make_app(AMQP)

    @app.task(name="redirects", shared=False)
    def redirects() -> None:
        os.chdir(tmp_path)
        os.environ["TENANT"] = "blue"
        with contextlib.redirect_stdout(io.StringIO()):
            time.sleep(60.0)

    logging.captureWarnings(False)
    before = sys.stdout, os.getcwd(), dict(os.environ), warnings.showwarning
    with Simulation(app) as sim:
        redirects.delay()
        sim.kill(worker="w1", at=5.0)
        sim.run()
    assert (sys.stdout, os.getcwd(), dict(os.environ), warnings.showwarning) == before


def test_the_clocks_show_real_time_and_their_functions_are_the_interpreters_own() -> None:
    definitions = list(clock._DEFINITIONS.values())
    before = [definition.meth for definition in definitions]
    for life in LIVES:
        life(AMQP)
    assert [definition.meth for definition in definitions] == before
    assert abs(time.time() - clock.real_time()) < 1.0
    assert abs(time.monotonic() - clock.real_monotonic()) < 1.0


def test_no_descriptor_thread_or_child_is_left() -> None:
    live(AMQP)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        live(AMQP)
        gc.collect()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after <= before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# --- what outlives its simulation


def test_what_a_dead_worker_had_of_each_task_is_let_go() -> None:
    """A class of requests and a dozen functions for each task of the app, which its frames would hold for good."""

    def classes() -> int:
        gc.collect()
        return sum(
            isinstance(one, type) and one.__qualname__.startswith("create_request_cls") for one in gc.get_objects()
        )

    before = classes()
    for _ in range(3):
        live(AMQP)
    assert classes() - before < 10, "a task that ran in a killed worker may keep its own; two workers had 24 each time"


@pytest.mark.parametrize("broker", [AMQP, REDIS], ids=["amqp", "redis"])
@pytest.mark.parametrize("backend", [BACKEND, "rpc://", "cache+memory://"], ids=["redis", "rpc", "memory"])
def test_what_outlives_its_simulation_is_collected_in_silence(broker: str, backend: str) -> None:
    gc.collect()
    app = make_app(broker, backend)
    with Simulation(app, workers=1) as sim:
        results = [app.tasks["add"].delay(1, number) for number in range(3)]
        pending = app.tasks["sleep"].delay(60.0)
        assert results[0].get(timeout=10) == 1
        connection, producer = app.connection_for_write(), app.amqp.producer_pool.acquire()
        connection.connect()
        channel = connection.channel()
        sim.run(until=5.0)
    assert results[0].result == 1
    del results, pending
    gc.collect()
    del channel, producer, connection
    gc.collect()
    del app, sim
    gc.collect()


def test_an_app_can_be_simulated_again_and_its_old_results_do_no_harm() -> None:
    app, old = make_app(REDIS), []
    for _ in range(3):
        with Simulation(app, workers=1):
            result = app.tasks["add"].delay(1, 2)
            old.append((result, app.connection_for_write().connect()))
            assert result.get(timeout=10) == 3
    old.clear()
    gc.collect()


# --- the table of patches


def all_rows() -> list[Row]:
    return [*ROWS, *redis_rows(), *kombu_redis_rows()]


def test_every_row_has_a_place_in_the_installed_releases_and_a_reason() -> None:
    missing = []
    for row in all_rows():
        owner, name = find(row.place)
        if row.applies() and not row.new and not (hasattr(owner, name) or name in vars(owner)):
            missing.append(row.place)
        assert row.why.strip(), row.place
    assert not missing


def test_no_place_is_replaced_twice() -> None:
    places = [row.place for row in all_rows() if row.applies()]
    assert sorted(set(places)) == sorted(places)


def test_a_name_that_is_added_is_not_there_otherwise() -> None:
    there = [row.place for row in all_rows() if row.new and row.place.endswith(":set") and _own(*find(row.place))]
    assert not there


def _own(owner: object, name: str) -> bool:
    return name in vars(owner)


def _installed(rows: Iterable[Row]) -> Patches:
    patches = Patches()
    patches.install(rows, None)
    return patches


@pytest.mark.parametrize(
    "place",
    [
        "celery.worker.no_such_module:name",
        "celery.worker.request:no_such_name",
        "celery.worker.request:NoSuchClass.method",
        "celery.worker.request:Request.no_such_method",
    ],
)
def test_a_place_that_is_missing_is_named_loudly(place: str) -> None:
    with pytest.raises(PatchMissing, match=place):
        _installed([Row(place, "a test", lambda _: None)])


def test_a_row_for_another_release_is_left_out() -> None:
    row = Row("celery.worker.request:gone", "a test", lambda _: None, needs="celery<1")
    assert not row.applies()
    _installed([row]).restore()


def test_restoring_puts_back_what_was_there_and_takes_away_what_is_new() -> None:
    owner = find("celery.bootsteps:Blueprint.claim_steps")[0]
    before = current_value(owner, "claim_steps")
    patches = _installed(
        [
            Row("celery.bootsteps:Blueprint.claim_steps", "a test", lambda _: None),
            Row("celery.bootsteps:Blueprint.claim_steps", "a test, again", lambda _: len),
            Row("celery.bootsteps:Blueprint.no_such_name", "a test", lambda _: None, new=True),
        ]
    )
    assert current_value(owner, "claim_steps") is len
    patches.restore()
    assert current_value(owner, "claim_steps") is before
    assert not hasattr(owner, "no_such_name")


def test_a_module_that_is_imported_inside_a_simulation_gets_real_functions_at_its_end(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("late")
    (folder / "imported_late.py").write_text(
        "from os import getpid, kill, urandom\nfrom random import random\nfrom time import sleep\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    app = make_app(AMQP)

    @app.task(name="late", shared=False)
    def late() -> float:
        import imported_late

        imported_late.sleep(2)
        return imported_late.random()

    with Simulation(app, workers=1) as sim:
        first = late.delay().get(timeout=10)
        assert sim.now >= 2
    import imported_late

    assert imported_late.sleep is time.sleep
    assert imported_late.getpid is os.getpid
    assert imported_late.random is __import__("random").random
    with Simulation(app, workers=1) as sim:
        second = late.delay().get(timeout=10)
        assert sim.now >= 2
    assert first == second
    del sys.modules["imported_late"]


def test_warnings_are_recorded_as_before() -> None:
    live(AMQP)
    with pytest.warns(UserWarning, match="still told"):
        warnings.warn("still told", stacklevel=1)
