"""Queues and routing (userguide/routing)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from celery.utils.nodenames import worker_direct
from kombu import Exchange, Queue
from kombu.common import Broadcast

from tasksim import Simulation

FEED = "feed.tasks.import_feed"


@pytest.fixture
def app(app: Celery) -> Celery:
    for name in (FEED, "web.tasks.render", "video.encode", "image.compress"):
        app.task(work, name=name, shared=False)
    return app


def work(*args: Any) -> str:
    return "done"


def queue_of(sim: Simulation, result: Any) -> str:
    return str(sim.trace.where("Delivered", task_id=result)[0].queue)


def route_task(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    return {"queue": "feeds"} if name == FEED else None


@pytest.mark.parametrize(
    "routes",
    [
        {FEED: {"queue": "feeds"}},
        {FEED: "feeds"},
        {"feed.tasks.*": {"queue": "feeds"}},
        ([("feed.tasks.*", {"queue": "feeds"}), ("web.tasks.*", {"queue": "web"})],),
        route_task,
        (route_task, {"web.tasks.*": "web"}),
        f"{__name__}.route_task",
    ],
    ids=["mapping", "name", "glob", "ordered", "function", "both", "dotted"],
)
def test_task_routes_in_each_form(app: Celery, routes: Any) -> None:
    app.conf.task_routes = routes
    with Simulation(app, workers={"w1": {"queues": "feeds"}, "w2": {}}) as sim:
        feed, other = app.tasks[FEED].delay(), app.tasks["video.encode"].delay()
        sim.run()
        assert [queue_of(sim, one) for one in (feed, other)] == ["feeds", "celery"]
        assert [sim.trace.of(one).attempts[0].worker for one in (feed, other)] == ["w1", "w2"]


def test_a_call_goes_before_a_route(app: Celery) -> None:
    app.conf.task_routes = {FEED: "feeds"}
    with Simulation(app, workers={"w1": {"queues": "feeds,now"}}) as sim:
        result = app.tasks[FEED].apply_async(queue="now")
        sim.run()
        assert queue_of(sim, result) == "now"


def test_manual_queues_with_a_default(app: Celery) -> None:
    app.conf.update(
        task_default_queue="default",
        task_queues=(Queue("default", routing_key="task.#"), Queue("feed_tasks", routing_key="feed.#")),
        task_default_exchange="tasks", task_default_exchange_type="topic", task_default_routing_key="task.default",
    )  # fmt: skip
    with Simulation(app) as sim:
        feed = app.tasks[FEED].apply_async(queue="feed_tasks", routing_key="feed.import")
        other = app.tasks["web.tasks.render"].delay()
        by_key = app.tasks["web.tasks.render"].apply_async(exchange="tasks", routing_key="feed.other")
        sim.run()
        assert [queue_of(sim, one) for one in (feed, other, by_key)] == ["feed_tasks", "default", "feed_tasks"]


def test_create_missing_queues(app: Celery) -> None:
    with Simulation(app, workers=0):
        app.tasks[FEED].apply_async(queue="made-on-the-way")
    app.conf.task_create_missing_queues = False
    with Simulation(app, workers=0), pytest.raises(QueueNotFound, match="unheard-of"):
        app.tasks[FEED].apply_async(queue="unheard-of")


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_the_default_exchanges_kind(app: Celery, kind: str) -> None:
    app.conf.update(task_default_exchange_type=kind, task_default_exchange="mine", task_default_routing_key="key")
    with Simulation(app):
        assert app.tasks[FEED].delay().get() == "done"


def test_queues_of_a_worker(app: Celery) -> None:
    app.conf.task_queues = [Queue("a"), Queue("b"), Queue("c")]
    workers = {"w1": {"queues": "a,b"}, "w2": {"exclude_queues": "a,b"}}
    with Simulation(app, workers=workers) as sim:
        results = [app.tasks[FEED].apply_async(queue=name) for name in "abc"]
        sim.run()
        assert [sim.trace.of(one).attempts[0].worker for one in results] == ["w1", "w1", "w2"]


def test_worker_direct(app: Celery) -> None:
    app.conf.worker_direct = True
    with Simulation(app, workers=2) as sim:
        result = app.tasks[FEED].apply_async(queue=worker_direct("w2@sim"))
        sim.run()
        assert [one.worker for one in sim.trace.of(result).attempts] == ["w2"]


def test_topics(app: Celery) -> None:
    media = Exchange("media", type="topic")
    app.conf.task_queues = (
        Queue("videos", media, routing_key="media.video.#"),
        Queue("images", media, routing_key="*.image.*"),
        Queue("all", media, routing_key="#"),
    )
    app.conf.task_default_exchange_type = "topic"
    with Simulation(app) as sim:
        app.tasks["video.encode"].apply_async(
            task_id="v", declare=[media], exchange="media", routing_key="media.video.hd.new"
        )
        app.tasks["image.compress"].apply_async(
            task_id="i", declare=[media], exchange="media", routing_key="media.image.png"
        )
        sim.run()
        queues = {name: {one.queue for one in sim.trace.where("Delivered", task_id=name)} for name in "vi"}
    assert queues == {"v": {"videos", "all"}, "i": {"images", "all"}}


def test_consumers_are_added_and_cancelled_while_it_runs(app: Celery) -> None:
    with Simulation(app) as sim:
        waiting = app.tasks[FEED].apply_async(queue="foo")
        sim.run()
        assert not sim.trace.of(waiting).attempts
        app.control.add_consumer("foo", reply=True)
        assert waiting.get(timeout=5) == "done"
        app.control.cancel_consumer("foo", reply=True)
        late = app.tasks[FEED].apply_async(queue="foo")
        sim.advance(5)
        assert not sim.trace.of(late).attempts


class TestRabbitMQ:
    """What only RabbitMQ has."""

    @pytest.fixture
    def broker(self) -> str:
        return "amqp://"

    def test_broadcast(self, app: Celery) -> None:
        app.conf.task_queues = (Broadcast("broadcast_tasks"),)
        app.conf.task_routes = {FEED: {"queue": "broadcast_tasks", "exchange": "broadcast_tasks"}}
        with Simulation(app, workers=3) as sim:
            app.tasks[FEED].delay()
            sim.run()
            assert sorted(one.worker for one in sim.trace.attempts) == ["w1", "w2", "w3"]

    def test_a_dead_letter_queue(self, app: Celery) -> None:
        dead = Exchange("dlx", type="direct")
        app.conf.task_queues = [
            Queue("work", queue_arguments={"x-message-ttl": 5000, "x-dead-letter-exchange": "dlx",
                                           "x-dead-letter-routing-key": "dead"}),
            Queue("dead", dead, routing_key="dead"),
        ]  # fmt: skip
        app.conf.task_default_queue = "work"
        with Simulation(app, workers={"w1": {"queues": "dead"}}) as sim:
            result = app.tasks[FEED].apply_async(queue="work", declare=[*app.conf.task_queues])
            sim.run()
            assert sim.trace.of(result).starts == pytest.approx([5], abs=0.1)
            assert sim.trace.where("DeadLettered")[0].reason == "expired"

    def test_priorities_of_a_queue(self, app: Celery) -> None:
        app.conf.task_queues = [Queue("tasks", queue_arguments={"x-max-priority": 10})]
        app.conf.update(task_default_queue="tasks", worker_prefetch_multiplier=1, task_acks_late=True)
        with Simulation(app, workers=0) as sim:
            results = [app.tasks[FEED].apply_async(priority=number) for number in (1, 5, 9)]
            sim.start_worker("w1", concurrency=1)
            sim.run()
            assert [one.task_id for one in sim.trace.attempts] == [one.id for one in reversed(results)]


class TestRedis:
    """What only Redis has."""

    @pytest.fixture
    def broker(self) -> str:
        return "redis://"

    def test_broadcast_reaches_whoever_the_publisher_names_its_binding(self, app: Celery) -> None:
        """As a real Redis does: the guide's call reaches nobody.

        A client of Redis keeps the kinds of exchanges in its memory, and workers listen to a channel with the binding's
        key in its name.
        """
        app.conf.task_queues = (Broadcast("broadcast_tasks"), Queue("celery"))
        app.conf.task_routes = {FEED: {"queue": "broadcast_tasks", "exchange": "broadcast_tasks"}}
        exchange = Exchange("broadcast_tasks", type="fanout")
        with Simulation(app, workers=2) as sim:
            app.tasks[FEED].delay()
            app.tasks[FEED].apply_async(declare=[exchange])
            sim.run()
            assert not sim.trace.attempts
            app.tasks[FEED].apply_async(declare=[exchange], routing_key="celery")
            sim.run()
            assert sorted(one.worker for one in sim.trace.attempts) == ["w1", "w2"]

    def test_priorities_are_lists(self, app: Celery) -> None:
        app.conf.broker_transport_options = {
            "priority_steps": list(range(10)), "sep": ":", "queue_order_strategy": "priority",
        }  # fmt: skip
        app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True)
        with Simulation(app, workers=0) as sim:
            results = [app.tasks[FEED].apply_async(priority=number) for number in (9, 5, 0)]
            sim.start_worker("w1", concurrency=1)
            sim.run()
            assert [one.task_id for one in sim.trace.attempts] == [one.id for one in reversed(results)]

    def test_a_visibility_timeout_delivers_a_long_eta_again(self, app: Celery) -> None:
        app.conf.broker_transport_options = {"visibility_timeout": 60}
        with Simulation(app, workers=2) as sim:
            result = app.tasks[FEED].apply_async(countdown=100)
            time.sleep(200)
            assert len(sim.trace.of(result).deliveries) > 1
