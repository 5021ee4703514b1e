"""Rules of RabbitMQ as a Celery app meets them: quorum queues, native delayed delivery, alarms."""

from __future__ import annotations

from tasksim import Simulation
from tests.scene import make_app, sleeper

QUORUM = {"task_default_queue_type": "quorum", "worker_detect_quorum_queues": True}


def test_an_eta_on_quorum_queues_goes_through_the_levels_of_native_delayed_delivery() -> None:
    app = make_app(**QUORUM, task_default_exchange="tasks", task_default_exchange_type="topic")
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.apply_async((1,), countdown=100)
        assert result.get(timeout=200) == 1
        names = set(sim.queues)
        assert {f"celery_delayed_{level}" for level in range(28)} <= names
        (start,) = sim.trace.of(result).starts
        assert 100 <= start < 101
        hops = [event.queue for event in sim.trace.where("DeadLettered", task_id=result.id)]
        assert hops == ["celery_delayed_6", "celery_delayed_5", "celery_delayed_2"]  # 64 + 32 + 4


def test_a_poison_message_on_a_quorum_queue_ends_at_its_delivery_limit() -> None:
    app = make_app(**QUORUM, task_acks_late=True, task_reject_on_worker_lost=True)

    @app.task(name="poison", shared=False)
    def poison() -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with Simulation(app, rabbitmq="4.1") as sim:
        result = poison.delay()
        sim.run()
        assert len(sim.trace.of(result).starts) == 21
        assert [event.reason for event in sim.trace.where("Dropped", task_id=result.id)] == ["delivery_limit"]


def test_an_alarm_holds_up_a_confirming_publisher_until_it_is_over() -> None:
    app = make_app(broker_transport_options={"confirm_publish": True})
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(1).get(timeout=10)
        sim.alarm(seconds=30)
        before = sim.now
        first, second = task.delay(1), task.delay(1)
        assert 30 <= sim.now - before < 31
        assert [first.get(timeout=10), second.get(timeout=10)] == [1, 1]
        assert sim.check() == []
