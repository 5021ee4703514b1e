"""Faults that end by themselves: the latest of a kind counts; and what a server has taken with it is nobody's."""

from __future__ import annotations

from kombu.exceptions import OperationalError

from tasksim import Simulation
from tests.scene import REDIS, make_app, sleeper


def _is_refused(sim: Simulation, task: object) -> bool:
    try:
        task.apply_async((0.0,), retry=False)  # type: ignore[attr-defined]
    except OperationalError:
        return True
    return False


def test_a_shorter_refusal_ends_no_later_one() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers=0) as sim:
        sim.refuse(2)
        sim.advance(1)
        sim.refuse()
        sim.advance(2)
        assert _is_refused(sim, task)
        sim.accept()
        assert not _is_refused(sim, task)


def test_a_server_that_goes_down_again_comes_up_as_the_second_says() -> None:
    with Simulation(make_app()) as sim:
        sim.restart_broker(2)
        sim.advance(1)
        sim.restart_broker(20)
        sim.run(until=60)
        assert [round(event.time) for event in sim.trace.where("ServerStarted")] == [21]


def test_slowness_that_was_ended_by_hand_ends_no_later_one() -> None:
    with Simulation(make_app(REDIS)) as sim:
        sim.slow(1.0, 5)
        sim.slow(0)
        sim.slow(2.0)
        sim.advance(10)
        assert sim._world.network.slow["redis"] == 2_000_000_000


def test_what_a_replaced_redis_held_is_no_work_that_is_left() -> None:
    app = make_app(REDIS, task_acks_late=True)
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(5.0)
        sim.failover(at=1)
        sim.run()
        assert sim.now < 4000  # before kombu 5.7 the ack goes to nobody, and the message comes again after an hour
        assert sim.trace.of(task).state == "SUCCESS"
