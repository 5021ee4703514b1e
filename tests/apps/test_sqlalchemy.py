"""SQLAlchemy in tasks: engines and scoped sessions of the app's modules, and Celery's own database backend."""

import sqlite3
import time

import pytest
from celery import Celery
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from tasksim import Simulation


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/shop.sqlite")
    with engine.begin() as connection:
        connection.execute(text("create table orders (number integer primary key, state text)"))
        connection.execute(text("insert into orders values (1, 'new')"))
    yield engine
    engine.dispose()


def state(engine) -> str:
    with engine.connect() as connection:
        return connection.execute(text("select state from orders")).scalar_one()


@pytest.mark.parametrize("broker", ["amqp://", "redis://"])
def test_a_killed_tasks_transaction_is_rolled_back(engine, broker):
    app = Celery("orders", broker=broker, backend="redis://")
    app.conf.broker_transport_options = {"visibility_timeout": 60}
    session = scoped_session(sessionmaker(engine))
    sessions = []

    @app.task(shared=False, acks_late=True)
    def pay():
        sessions.append(session())
        session.execute(text("update orders set state = 'half'"))
        time.sleep(3)
        session.execute(text("update orders set state = 'paid'"))
        session.commit()

    with Simulation(app, workers=2, broker=broker) as sim:
        result = pay.delay()
        sim.run(sim.started(result))
        sim.advance(1)
        assert state(engine) == "new"
        sim.kill(worker=sim.trace.attempts[0].worker)
        result.get(timeout=500)
        assert [one.state for one in sim.trace.attempts] == ["LOST", "SUCCESS"]
        assert sessions[0] is not sessions[1]
    assert state(engine) == "paid"


def test_two_writers_one_after_the_other(engine):
    app = Celery("writers", broker="amqp://", backend="redis://")

    @app.task(shared=False)
    def append(letter):
        with engine.begin() as connection:
            connection.execute(text("update orders set state = state || :letter"), {"letter": letter})
            time.sleep(2)

    with Simulation(app, workers=2) as sim:
        results = [append.delay(letter) for letter in "ab"]
        sim.run()
        assert {result.state for result in results} == {"SUCCESS"}
        assert sim.now == pytest.approx(4, abs=0.2)
    assert state(engine) in ("newab", "newba")


def test_a_lock_is_waited_for_no_longer_than_the_connection_says(tmp_path):
    app = Celery("impatient", broker="amqp://", backend="redis://")
    path = tmp_path / "plain.sqlite"
    sqlite3.connect(path).executescript("create table t (x)").connection.close()

    @app.task(shared=False)
    def write(timeout, hold):
        connection = sqlite3.connect(path, timeout=timeout)
        try:
            with connection:
                connection.execute("insert into t values (1)")
                time.sleep(hold)
        finally:
            connection.close()

    with Simulation(app, workers=2) as sim:
        write.delay(5.0, 60)
        sim.advance(1)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            write.delay(7.0, 0).get(timeout=100)
        assert sim.now == pytest.approx(8, abs=0.1)


def test_engines_of_the_result_store_are_those_of_a_real_worker(tmp_path):
    """Recorded with Celery 5.7: a worker, as its client, makes an engine for each look; a pool process keeps one."""
    made = []
    app = Celery("engines", broker="amqp://", backend=f"db+sqlite:///{tmp_path}/results.sqlite")

    @app.task(shared=False)
    def add(x, y):
        return x + y

    app.conf.database_engine_callback = lambda engine: made.append((sim.current_process.name, type(engine.pool)))
    with Simulation(app, concurrency=1) as sim:
        assert [add.delay(number, 1).get(timeout=10) for number in range(3)] == [1, 2, 3]
        assert sim.run_in(lambda: app.AsyncResult("nobody").state).result() == "PENDING"
    kinds = {name: [kind.__name__ for process, kind in made if process == name] for name, _ in made}
    assert kinds.pop("w1/1") == ["QueuePool"]
    assert set(kinds.pop("client")) == {"NullPool"}
    assert set(kinds.pop("script")) == {"NullPool"}
    assert not kinds or set(kinds) == {"w1"}
