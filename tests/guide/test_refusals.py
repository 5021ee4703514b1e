"""What cannot be served says so at the start, and names what to do instead."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from celery import Celery

from tasksim import Simulation
from tasksim.errors import UnsupportedError
from tasksim.patching import guard


@pytest.mark.parametrize("url", ["sqs://", "kafka://localhost:9092", "mongodb://localhost", "filesystem://"])
def test_a_broker_that_is_not_simulated_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(UnsupportedError, match=r'is not simulated.*broker="amqp://"'), Simulation(Celery(broker=url)):
        pass


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "celery.concurrency.gevent:TaskPool"])
def test_a_pool_of_greenlets_is_refused_at_the_start(pool: str) -> None:
    app = Celery(broker="redis://")
    for options in (
        {"workers": {"w1": {"pool": pool}}},
        {"workers": {"w1": {"conf": {"worker_pool": pool}}}},
        {"settings": {"worker_pool": pool}},
    ):
        with pytest.raises(UnsupportedError, match=r'worker w1.*is not simulated.*pool="threads"'):
            Simulation(app, **options).open()
    with Simulation(app) as sim, pytest.raises(UnsupportedError, match="worker w2"):
        sim.start_worker("w2", pool=pool)


@pytest.mark.parametrize(
    "url", ["cache+memcached://cache:11211/", "mongodb://db/results", "dynamodb://@us-east-1", "s3"]
)
def test_a_result_store_that_is_not_simulated_is_refused_at_the_start(url: str) -> None:
    app = Celery(broker="redis://", backend=url)
    with pytest.raises(UnsupportedError, match=r'result store \w+ is not simulated.*backend="redis://"'):
        Simulation(app).open()
    in_settings = Celery(broker="redis://", backend="cache")
    in_settings.conf.cache_backend = "memcached://cache:11211/"
    with pytest.raises(UnsupportedError, match=r"result store memcached is not simulated.*allow="):
        Simulation(in_settings).open()
    with Simulation(app, workers=0, backend="redis://"):
        assert app.backend.as_uri().startswith("redis://")
    with Simulation(app, workers=0, allow=["cache:11211", "db"]):
        pass  # a real one is meant


def test_the_management_api_is_refused_but_its_bindings() -> None:
    app = Celery(broker="amqp://", backend="redis://")
    with Simulation(app) as sim, app.connection() as connection:
        sim.run()
        manager = connection.get_manager()
        assert "celery" in {one["destination"] for one in manager.get_bindings()}
        with pytest.raises(UnsupportedError, match=r"get_queues of RabbitMQ's management API.*sim\.queues tells"):
            manager.get_queues()


def test_celery_multi_is_refused_before_it_starts_a_real_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["multi", "start", "1", f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log"]
    monkeypatch.setattr("sys.argv", ["celery", *arguments])
    app = Celery(broker="amqp://", backend="redis://")
    with Simulation(app), pytest.raises(UnsupportedError, match=r"celery1@.* as a real process.*sim\.start_worker"):
        app.start(argv=arguments)


def test_a_server_that_a_task_waits_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.01)
    app = Celery(broker="redis://", backend="redis://")

    @app.task(shared=False)
    def serve() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.accept()

    with Simulation(app), pytest.raises(UnsupportedError, match=r"w1/1 waits at a real socket.*outside of the tests"):
        serve.delay().get()
