"""A real PostgreSQL, which scripts/with_postgres.py starts; `.ci/run` runs these tests so."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tasksim import Limits, Simulation
from tasksim.errors import TasksimError

SERVER = os.environ.get("TASKSIM_POSTGRES", "")
SITE = Path(__file__).parent / "django_site"
pytestmark = pytest.mark.skipif(
    not SERVER, reason="needs a PostgreSQL of its own: python scripts/with_postgres.py COMMAND starts one"
)
psycopg: Any = pytest.importorskip("psycopg")


@pytest.fixture
def table() -> Iterator[str]:
    """A table of accounts 1 and 2, with 0 each."""
    name = f"account_{os.getpid()}"
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {name}")
        connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, n int, at timestamptz)")
        connection.execute(f"INSERT INTO {name} VALUES (1, 0), (2, 0)")
        yield name
        connection.execute(f"DROP TABLE {name}")


def adder(app: Celery, table: str) -> Any:
    """A task that locks rows one after the other, holds each for some seconds, and adds 1 to the first."""

    @app.task(name="add", shared=False)
    def add(*rows: int, hold: float = 5.0, how: str = "FOR UPDATE") -> None:
        with psycopg.connect(SERVER) as connection:
            for row in rows:
                connection.execute(f"SELECT n FROM {table} WHERE id = %s {how}", (row,))
                time.sleep(hold)
            connection.execute(f"UPDATE {table} SET n = n + 1 WHERE id = %s", (rows[0],))

    return add


def values(table: str) -> list[int]:
    with psycopg.connect(SERVER) as connection:
        return [row[0] for row in connection.execute(f"SELECT n FROM {table} ORDER BY id").fetchall()]


@pytest.fixture
def app(broker: str) -> Celery:
    return Celery("bank", broker=broker, backend="redis://", set_as_current=False)


@pytest.fixture(params=["amqp://", "redis://"])
def broker(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_who_waits_for_a_row_lock_waits_in_virtual_time(app: Celery, table: str, seed: int) -> None:
    add = adder(app, table)
    with Simulation(app, workers=2, concurrency=2, seed=seed) as sim:
        results = [add.delay(1) for _ in range(3)]
        sim.run()
        assert sorted(one.ended for one in sim.trace.attempts) == pytest.approx([5, 10, 15], abs=0.01)
        assert all(result.successful() for result in results)
    assert values(table) == [3, 0]


@pytest.mark.xfail(
    reason="of two that want a row which a third sets free at that instant, the server lets go either, in real time",
    strict=False,
)
def test_the_same_seed_gives_the_same_run(app: Celery, table: str) -> None:
    add = adder(app, table)
    digests = set()
    for _ in range(2):
        with Simulation(app, workers=2, concurrency=2, seed=5) as sim:
            for rows in ((1,), (2, 1), (1, 2), (2,)):
                add.delay(*rows)
            sim.run()
            digests.add(sim.trace.digest())
    assert len(digests) == 1


def test_a_killed_process_transaction_is_rolled_back_and_its_locks_are_free(app: Celery, table: str) -> None:
    add = adder(app, table)
    with Simulation(app, workers=2, concurrency=2) as sim:
        holder = add.delay(1, hold=100)
        sim.run(until=1)
        waiter = add.delay(1)
        sim.run(until=2)
        sim.kill(task=holder)
        sim.run()
        assert sim.trace.of(waiter).attempts[0].ended == pytest.approx(7, abs=0.01)
    assert values(table) == [1, 0]


def test_a_killed_process_lock_is_free_at_once_for_those_who_do_not_wait(app: Celery, table: str) -> None:
    add = adder(app, table)
    with Simulation(app, workers=2, concurrency=2) as sim:
        holder = add.delay(1, hold=100)
        sim.run(until=1)
        refused = add.delay(1, how="FOR UPDATE NOWAIT")
        sim.run(until=2)
        sim.kill(task=holder)
        served = add.delay(1, how="FOR UPDATE NOWAIT")
        sim.run()
        assert (refused.state, served.state) == ("FAILURE", "SUCCESS")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_lock_cycle_is_named_and_one_of_them_is_given_up(app: Celery, table: str, seed: int) -> None:
    add = adder(app, table)
    with Simulation(app, workers=2, concurrency=2, seed=seed) as sim:
        results = [add.delay(1, 2), add.delay(2, 1)]
        sim.run()
        assert sorted(result.state for result in results) == ["FAILURE", "SUCCESS"]
        error = next(str(result.result) for result in results if result.failed())
        assert "w1/1" in error
        assert "w2/1" in error
        assert "wait for each other's locks" in error
        assert sim.now == pytest.approx(5 + 1 + 5, abs=0.1)


def test_a_test_that_holds_a_lock_and_waits_for_a_task_that_needs_it_is_told(app: Celery, table: str) -> None:
    add = adder(app, table)
    with Simulation(app, limits=Limits(stuck=60)), psycopg.connect(SERVER) as connection:
        connection.execute(f"SELECT n FROM {table} WHERE id = 1 FOR UPDATE")
        result = add.delay(1)
        with pytest.raises(TasksimError, match="w1/1 waits for a lock in PostgreSQL that client holds"):
            result.get()


def test_the_databases_own_clock_is_warned_of(app: Celery, table: str, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(shared=False)
    def stamp() -> float:
        with psycopg.connect(SERVER) as connection:
            connection.execute(f"UPDATE {table} SET at = now()")
            (at,) = connection.execute(f"SELECT at FROM {table}").fetchone()
            return abs(at.timestamp() - time.time())

    with Simulation(app):
        assert stamp.delay().get() > 1000
    assert "PostgreSQL's own clock is real: now(), CURRENT_TIMESTAMP" in caplog.text
    assert 'Simulation(start="now")' in caplog.text
    caplog.clear()
    with Simulation(app, start="now"):
        assert stamp.delay().get() < 60
    assert "own clock" not in caplog.text


def test_psycopg2_waits_in_virtual_time_too(app: Celery, table: str) -> None:
    driver = pytest.importorskip("psycopg2")

    @app.task(name="old", shared=False)
    def old(*rows: int) -> None:
        connection = driver.connect(SERVER)
        try:
            with connection, connection.cursor() as cursor:
                for row in rows:
                    cursor.execute(f"SELECT n FROM {table} WHERE id = %s FOR UPDATE", (row,))
                    time.sleep(5)
                cursor.execute(f"UPDATE {table} SET n = n + 1 WHERE id = %s", (rows[0],))
        finally:
            connection.close()

    with Simulation(app, workers=2, concurrency=2) as sim:
        old.delay(1)
        old.delay(1)
        sim.run()
        assert sim.now == pytest.approx(10, abs=0.1)
        cycle = [old.delay(1, 2), old.delay(2, 1)]
        sim.run()
        assert sorted(result.state for result in cycle) == ["FAILURE", "SUCCESS"]
    assert sum(values(table)) == 3


def test_sqlalchemy_waits_in_virtual_time_too(app: Celery, table: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(SERVER), poolclass=sqlalchemy.pool.QueuePool
    )

    @app.task(shared=False)
    def add() -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"SELECT n FROM {table} WHERE id = 1 FOR UPDATE"))
            time.sleep(5)
            connection.execute(sqlalchemy.text(f"UPDATE {table} SET n = n + 1 WHERE id = 1"))

    with Simulation(app, workers=2, concurrency=2) as sim:
        add.delay()
        add.delay()
        sim.run()
        assert sim.now == pytest.approx(10, abs=0.1)
    engine.dispose()
    assert values(table) == [2, 0]


@pytest.mark.parametrize("broker", ["amqp://", "redis://"])
def test_a_django_projects_suite_on_postgresql(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    shutil.copytree(SITE, pytester.path, dirs_exist_ok=True)
    monkeypatch.setenv("BROKER", broker)
    monkeypatch.setenv("DATABASE", "postgres")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    plugins = ["-p", "tasksim.pytest_plugin", "-p", "django", "-p", "no:cacheprovider"]
    result = pytester.runpytest_subprocess("check_notes.py", "check_transactions.py", *plugins, timeout=600)
    assert result.ret == 0
