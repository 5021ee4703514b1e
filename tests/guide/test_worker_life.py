"""Workers, "Stopping the worker", "Automatic re-connection", and how workers know of each other."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from celery import Celery, signals
from celery.exceptions import WorkerShutdown

from tasksim import Simulation, events
from tests.scene import AMQP, REDIS


def nap_of(app: Celery, **options: Any) -> Any:
    @app.task(name="nap", shared=False, **options)
    def nap(seconds: float = 10.0) -> float:
        time.sleep(seconds)
        return seconds

    return nap


def down(sim: Simulation, name: str = "w1") -> float:
    """When this worker went down."""
    return float(sim.trace.where(events.WorkerDown, worker=name)[0].time)


# --- stopping


def test_warm_shutdown_waits_for_all_running_tasks(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, concurrency=2) as sim:
        running = [nap.delay(30), nap.delay(60)]
        waiting = nap.delay(1)
        sim.stop("w1", at=5)
        sim.run(until=100)
        assert [one.state for one in running] == ["SUCCESS", "SUCCESS"]
        assert down(sim) == pytest.approx(60, abs=2)
        assert sim.queues["celery"].ready == 1
        sim.start_worker("w1")
        assert waiting.get() == 1


def test_cold_shutdown_ends_at_once_and_late_tasks_come_back(app: Celery) -> None:
    app.conf.broker_transport_options = {"visibility_timeout": 100}
    nap = nap_of(app, acks_late=True)
    with Simulation(app, concurrency=1) as sim:
        result = nap.delay(60)
        sim.stop("w1", how="cold", at=5)
        sim.run(until=10)
        assert down(sim) == pytest.approx(5, abs=1.5)
        assert result.state == "PENDING"
        sim.start_worker("w1")
        sim.run()
        assert result.state == "SUCCESS"


def test_a_second_signal_turns_a_warm_shutdown_into_a_cold_one(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app) as sim:
        nap.delay(600)
        sim.stop("w1", at=5)
        sim.stop("w1", how="cold", at=20)
        sim.run(until=30)
        assert [event.how for event in sim.trace.where(events.WorkerStopping)] == ["Warm", "Cold"]
        assert down(sim) == pytest.approx(20, abs=1.5)


@pytest.mark.parametrize(("needs", "state"), [(5, "SUCCESS"), (60, "PENDING")])
def test_soft_shutdown_gives_tasks_a_time_limit_before_the_cold_one(app: Celery, needs: int, state: str) -> None:
    app.conf.worker_soft_shutdown_timeout = 10
    nap = nap_of(app, acks_late=True)
    with Simulation(app) as sim:
        result = nap.delay(needs)
        sim.stop("w1", how="cold", at=2)
        sim.run(until=30)
        assert result.state == state
        assert down(sim) < 14


def test_soft_shutdown_of_an_idle_worker_waits_where_it_is_told_to(app: Celery) -> None:
    app.conf.update(worker_soft_shutdown_timeout=10, worker_enable_soft_shutdown_on_idle=True)
    nap = nap_of(app)
    with Simulation(app) as sim:
        nap.apply_async((1,), countdown=600)
        sim.stop("w1", how="cold", at=2)
        sim.run(until=30)
        assert down(sim) == pytest.approx(12, abs=1.5)


def test_a_task_may_stop_its_worker(app: Celery) -> None:
    @app.task(shared=False)
    def last_one() -> None:
        raise WorkerShutdown(0)

    with Simulation(app, workers={"w1": {"pool": "solo"}}) as sim:
        last_one.delay()
        sim.run(until=10)
        assert (sim.workers["w1"].state, sim.workers["w1"].exitcode) == ("down", 0)


def test_shutdown_by_remote_control(app: Celery) -> None:
    nap_of(app)
    with Simulation(app, workers=2) as sim:
        app.control.shutdown(destination=["w1@sim"])
        sim.run(until=10)
        assert [sim.workers[name].state for name in ("w1", "w2")] == ["down", "up"]


# --- connections that are lost


@pytest.mark.parametrize("broker", [AMQP, REDIS])
@pytest.mark.parametrize("cancels", [False, True])
def test_long_tasks_are_cancelled_when_the_connection_is_lost(broker: str, cancels: bool) -> None:
    app = Celery("proj", broker=broker, backend="redis://")
    app.conf.update(
        worker_cancel_long_running_tasks_on_connection_loss=cancels,
        broker_transport_options={"visibility_timeout": 120},
    )
    nap = nap_of(app, acks_late=True)
    with Simulation(app, concurrency=2) as sim:
        result = nap.delay(60)
        sim.run(until=10)
        sim.cut(worker="w1", server="rabbitmq" if broker == AMQP else "redis")
        sim.run()
        attempts = sim.trace.of(result).attempts
        assert len(attempts) == 2
        assert (attempts[0].state == "SUCCESS") is not cancels
        assert attempts[0].ended == pytest.approx(10 if cancels else 60, abs=1)
        assert attempts[1].state == result.state == "SUCCESS"


def test_a_worker_tries_again_until_the_broker_is_back(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app) as sim:
        sim.refuse(60)
        sim.cut(worker="w1")
        sim.advance(59)
        assert sim.workers["w1"].state == "up"
        sim.run(until=130)
        assert nap.delay(1).get() == 1


def test_a_worker_gives_up_after_so_many_tries(app: Celery) -> None:
    app.conf.update(broker_connection_max_retries=3)
    nap_of(app)
    with Simulation(app) as sim:
        sim.refuse()
        sim.cut(worker="w1")
        sim.run(until=100)
        assert sim.workers["w1"].state == "down"
        assert sim.workers["w1"].exitcode


# --- workers that know of each other


def test_mingle_tells_a_new_worker_of_what_was_revoked(app: Celery) -> None:
    nap = nap_of(app)
    with Simulation(app, workers=["w1"]) as sim:
        app.control.revoke("an-id")
        sim.advance(1)
        sim.start_worker("w2", wait=True)
        sim.start_worker("w3", without_mingle=True, wait=True)
        sim.advance(1)
        revoked = app.control.inspect(timeout=1).revoked()
        assert {name: len(ids) for name, ids in revoked.items()} == {"w1@sim": 1, "w2@sim": 1, "w3@sim": 0}
        assert nap.delay(1).get() == 1


def test_gossip_tells_who_comes_and_who_is_gone(app: Celery) -> None:
    nap_of(app)
    told: list[tuple[str, str]] = []

    def watch(sender: Any, **_: Any) -> None:
        if sender.hostname == "w1@sim":
            sender.gossip.on.node_join.add(lambda worker: told.append(("join", worker.hostname)))
            sender.gossip.on.node_leave.add(lambda worker: told.append(("leave", worker.hostname)))
            sender.gossip.on.node_lost.add(lambda worker: told.append(("lost", worker.hostname)))

    signals.worker_ready.connect(watch)
    try:
        with Simulation(app, workers=["w1"]) as sim:
            sim.run(until=5)
            for name in ("w2", "w3"):
                sim.start_worker(name, wait=True)
            sim.advance(10)
            sim.stop("w2")
            sim.kill(worker="w3")
            sim.advance(30)
    finally:
        signals.worker_ready.disconnect(watch)
    assert told == [("join", "w2@sim"), ("join", "w3@sim"), ("leave", "w2@sim"), ("lost", "w3@sim")]


def test_heartbeat_events_are_sent_each_two_seconds_and_can_be_switched_off(app: Celery) -> None:
    nap_of(app)
    beats: dict[str, list[float]] = {"w1@sim": [], "w2@sim": [], "w3@sim": []}
    workers = {"w1": {}, "w2": {"heartbeat_interval": 5}, "w3": {"without_heartbeat": True}}
    with Simulation(app, workers=workers) as sim, app.connection_for_read() as connection:

        def beat(event: dict[str, Any]) -> None:
            beats[event["hostname"]].append(sim.now)
            receiver.should_stop = sim.now > 20

        receiver = app.events.Receiver(connection, handlers={"worker-heartbeat": beat})
        receiver.capture(wakeup=False)
    gaps = {name: {round(b - a) for a, b in itertools.pairwise(times)} for name, times in beats.items()}
    assert gaps == {"w1@sim": {2}, "w2@sim": {5}, "w3@sim": set()}


def test_broker_heartbeats_find_a_connection_that_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("proj", broker=AMQP, backend="redis://")
    app.conf.broker_heartbeat = 10
    nap = nap_of(app)
    with Simulation(app) as sim:
        sim.freeze(worker="w1", server="rabbitmq")
        sim.run(until=60)
        assert 20 <= sim.trace.where(events.Disconnected, server="rabbitmq")[0].time < 30
        assert "Too many heartbeats missed" in caplog.text
        sim.thaw(worker="w1", server="rabbitmq")
        assert nap.delay(1).get() == 1
