"""What SQLite calls now is virtual, in the test and in tasks, for as long as the simulation runs."""

from __future__ import annotations

import datetime
import sqlite3
import time
from pathlib import Path

import pytest

from tasksim import Simulation
from tests.scene import make_app

START = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
QUESTIONS = {
    "current_timestamp": "2031-05-06 07:09:09",
    "CURRENT_DATE": "2031-05-06",
    "current_time": "07:09:09",
    "datetime('now')": "2031-05-06 07:09:09",
    "datetime()": "2031-05-06 07:09:09",
    "date('NOW', '+1 day')": "2031-05-07",
    "time('now')": "07:09:09",
    "strftime('%Y-%m-%d %H:%M:%f', 'now')": "2031-05-06 07:09:09.000",
    "strftime('%s', 'now')": str(int(START.timestamp()) + 60),
    "round((julianday('now') - julianday('2031-05-06 07:08:09')) * 86400)": 60.0,
    "datetime('2001-02-03 04:05:06', '+1 hour')": "2001-02-03 05:05:06",
    "date(null)": None,
    "date('no date')": None,
}


def ask(connection: sqlite3.Connection, question: str) -> object:
    return connection.execute(f"select {question}").fetchone()[0]


@pytest.mark.parametrize("question", QUESTIONS)
def test_now_is_virtual(question: str) -> None:
    with Simulation(make_app(), workers=0, start=START) as sim:
        connection = sqlite3.connect(":memory:")
        sim.advance(60)
        assert ask(connection, question) == QUESTIONS[question]
        connection.close()


def test_a_row_bears_the_virtual_time_at_which_a_task_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    sqlite3.connect(path).executescript("create table t (x, at text default current_timestamp)").connection.close()
    app = make_app()

    @app.task(name="write", shared=False)
    def write() -> None:
        time.sleep(30)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("insert into t (x) values (1)")
        connection.close()

    with Simulation(app, start=START) as sim:
        write.delay()
        sim.run()
    after = sqlite3.connect(path)
    assert after.execute("select * from t").fetchall() == [(1, "2031-05-06 07:08:39")]
    assert abs(float(str(ask(after, "strftime('%s', 'now')"))) - time.time()) < 5
    after.close()


def test_a_connection_that_outlives_the_simulation_shows_real_time() -> None:
    with Simulation(make_app(), workers=0, start=START):
        connection = sqlite3.connect(":memory:")
        assert ask(connection, "date('now')") == "2031-05-06"
    assert abs(float(str(ask(connection, "strftime('%s', 'now')"))) - time.time()) < 5
    connection.close()


def test_functions_that_show_now_may_stand_in_an_index_as_before() -> None:
    with Simulation(make_app(), workers=0):
        connection = sqlite3.connect(":memory:")
        connection.executescript(
            "create table t (a, day generated always as (date(a)) stored); create index i on t (strftime('%Y', a))"
        )
        connection.execute("insert into t (a) values ('2020-02-03 04:05')")
        assert connection.execute("select day from t").fetchall() == [("2020-02-03",)]
        connection.close()
