"""Steps of the user's own in worker and consumer (userguide/extending)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery, bootsteps
from click import Option
from kombu import Consumer, Exchange, Queue

from tasksim import Simulation

my_queue = Queue("custom", Exchange("custom"), "routing_key")


class Journal(list[tuple[str, str]]):
    """What steps did, and in which process."""

    sim: Any = None

    def note(self, what: str) -> None:
        self.append((what, self.sim.current_process.name))


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_a_custom_message_consumer(app: Celery) -> None:
    received = []

    class MyConsumerStep(bootsteps.ConsumerStep):
        def get_consumers(self, channel: Any) -> list[Consumer]:
            return [Consumer(channel, queues=[my_queue], callbacks=[self.handle_message], accept=["json"])]

        def handle_message(self, body: Any, message: Any) -> None:
            received.append((sim.current_process.name, body))
            message.ack()

    app.steps["consumer"].add(MyConsumerStep)

    def send_me_a_message(who: str, producer: Any = None) -> None:
        with app.producer_or_acquire(producer) as producer:
            producer.publish(
                {"hello": who}, serializer="json", exchange=my_queue.exchange, routing_key="routing_key",
                declare=[my_queue], retry=True,
            )  # fmt: skip

    with Simulation(app) as sim:
        send_me_a_message("world!")
        sim.advance(1)
        sim.cut(worker="w1")  # the step is started again with the new connection
        sim.advance(5)
        send_me_a_message("again!")
        sim.advance(1)
        assert all(one.ready == one.unacked == 0 for one in sim.queues.values())
    assert received == [("w1", {"hello": "world!"}), ("w1", {"hello": "again!"})]


def test_a_worker_step_that_needs_the_pool(app: Celery, journal: Journal) -> None:
    class ExampleWorkerStep(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Pool"}

        def __init__(self, worker: Any, **kwargs: Any) -> None:
            journal.note(f"init of {type(worker).__name__}")

        def create(self, worker: Any) -> Any:
            journal.note("create")
            return self

        def start(self, worker: Any) -> None:
            journal.note(f"start, {len(worker.pool._pool._pool)} processes")

        def stop(self, worker: Any) -> None:
            journal.note("stop")

        def terminate(self, worker: Any) -> None:
            journal.note("terminate")

    app.steps["worker"].add(ExampleWorkerStep)
    with Simulation(app, concurrency=2) as journal.sim:
        journal.sim.advance(1)
        journal.sim.stop(worker="w1")
        journal.sim.run()
    assert [what for what, _ in journal] == ["init of Worker", "create", "start, 2 processes", "stop"]
    assert {process for _, process in journal} == {"w1"}


def test_terminate_is_called_where_a_worker_is_stopped_cold(app: Celery, journal: Journal) -> None:
    class Step(bootsteps.StartStopStep):
        def start(self, worker: Any) -> None:
            journal.note("start")

        def stop(self, worker: Any) -> None:
            journal.note("stop")

        def terminate(self, worker: Any) -> None:
            journal.note("terminate")

    app.steps["worker"].add(Step)
    with Simulation(app) as journal.sim:
        journal.sim.advance(1)
        journal.sim.stop(worker="w1", how="cold")
        journal.sim.run()
    assert journal == [("start", "w1"), ("terminate", "w1")]


def test_a_killed_worker_stops_no_step(app: Celery, journal: Journal) -> None:
    class Step(bootsteps.StartStopStep):
        def stop(self, worker: Any) -> None:
            journal.note("stop")

        terminate = shutdown = stop

    app.steps["worker"].add(Step)
    with Simulation(app) as journal.sim:
        journal.sim.advance(1)
        journal.sim.kill(worker="w1")
        journal.sim.run()
    assert journal == []


def test_a_consumer_step_is_shut_down_and_started_again_with_each_connection(app: Celery, journal: Journal) -> None:
    class ExampleStep(bootsteps.StartStopStep):
        requires = {"celery.worker.consumer.connection:Connection"}

        def start(self, c: Any) -> None:
            journal.note(f"start, connected: {c.connection.connected}")

        def stop(self, c: Any) -> None:
            journal.note("stop")

        def shutdown(self, c: Any) -> None:
            journal.note("shutdown")

    app.steps["consumer"].add(ExampleStep)
    with Simulation(app) as journal.sim:
        journal.sim.cut(worker="w1", at=5)
        journal.sim.run(until=10)
        journal.sim.stop(worker="w1")
        journal.sim.run()
    done = [what for what, _ in journal]
    assert done.count("start, connected: True") == 2
    assert done[0] != done[1]  # it was stopped before it was started again
    assert not done[-1].startswith("start")
    assert {process for _, process in journal} == {"w1"}


def test_steps_start_in_the_order_of_what_they_require(app: Celery, journal: Journal) -> None:
    class Named(bootsteps.StartStopStep):
        def start(self, c: Any) -> None:
            journal.note(type(self).__name__)

    class Last(Named):
        requires = (bootsteps.StartStopStep,)

    class First(Named):
        requires = ("celery.worker.consumer.tasks:Tasks",)

    class Second(Named):
        requires = (First,)

    Last.requires = (Second,)
    for step in (Last, Second, First):
        app.steps["consumer"].add(step)
    with Simulation(app) as journal.sim:
        journal.sim.run()
    assert [what for what, _ in journal] == ["First", "Second", "Last"]


def test_attributes_on_the_context(app: Celery) -> None:
    found: dict[str, Any] = {}

    class Infra(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, c: Any, **kwargs: Any) -> None:
            c.infra = {"calls": 0}

        def start(self, c: Any) -> None:
            c.infra["calls"] += 1
            found.update(
                app=c.app is app, hostname=c.hostname, controller=c.controller.hostname, pool=type(c.pool).__module__,
                prefetch=c.initial_prefetch_count, timer=c.timer is not None, infra=c.infra,
                qos=c.qos.value, event_dispatcher=c.event_dispatcher.enabled, hub=c.hub is not None,
            )  # fmt: skip

    app.steps["consumer"].add(Infra)
    with Simulation(app, concurrency=2) as sim:
        sim.run()
    assert found == {
        "app": True, "hostname": "w1@sim", "controller": "w1@sim", "pool": "celery.concurrency.prefork",
        "prefetch": 8, "timer": True, "infra": {"calls": 1}, "qos": 8, "event_dispatcher": True, "hub": True,
    }  # fmt: skip


def test_the_guides_deadlock_detection_uses_the_timer(app: Celery, journal: Journal) -> None:
    class DeadlockDetection(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Timer"}

        def __init__(self, worker: Any, deadlock_timeout: float = 3600.0, **kwargs: Any) -> None:
            self.timeout = deadlock_timeout
            self.requests: list[Any] = []
            self.tref: Any = None

        def start(self, worker: Any) -> None:
            # run every 30 seconds.
            self.tref = worker.timer.call_repeatedly(30.0, self.detect, (worker,), priority=10)

        def stop(self, worker: Any) -> None:
            if self.tref:
                self.tref.cancel()
                self.tref = None

        def detect(self, worker: Any) -> None:
            # update active requests
            from celery.worker import state

            for req in state.active_requests:
                if req.time_start and time.time() - req.time_start > self.timeout:
                    journal.note("deadlock")

    @app.task(shared=False)
    def hang() -> None:
        time.sleep(300)

    app.steps["worker"].add(DeadlockDetection)
    with Simulation(app, workers={"w1": {"deadlock_timeout": 100.0}}, concurrency=1) as journal.sim:
        hang.delay()
        journal.sim.advance(135)
    assert journal
    assert set(journal) == {("deadlock", "w1")}


def test_options_of_the_command_line(app: Celery) -> None:
    seen = []
    app.user_options["worker"].add(Option(("--enable-my-option",), is_flag=True, default=False, help="Enable it."))

    class MyBootstep(bootsteps.Step):
        def __init__(self, parent: Any, enable_my_option: bool = False, **options: Any) -> None:
            super().__init__(parent, **options)
            seen.append(enable_my_option)

    app.steps["worker"].add(MyBootstep)
    with Simulation(app, workers={"w1": {"enable_my_option": True}}) as sim:
        sim.run_in(app.worker_main, ["worker", "--enable-my-option", "-c", "1", "-n", "w2@sim"], name="w2")
        sim.advance(3)
        sim.run_in(app.worker_main, ["worker", "-c", "1", "-n", "w3@sim"], name="w3")
        sim.advance(3)
    assert seen == [True, True, False]


def test_steps_belong_to_a_run_and_leave_nothing_in_their_classes(app: Celery) -> None:
    class Step(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Pool"}

    app.steps["worker"].add(Step)
    for _ in range(2):
        with Simulation(app) as sim:
            sim.run()
    assert Step.requires == {"celery.worker.components:Pool"}
