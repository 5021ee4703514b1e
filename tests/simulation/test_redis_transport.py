"""Options of kombu's Redis transport, and clients of users beside it, as apps have them in production."""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import pairwise
from typing import Any

import pytest
import redis
import redis.asyncio
from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

from tasksim import Simulation
from tests.scene import REDIS, make_app, sleeper


def on_redis(**options: Any) -> Celery:
    """An app with broker and results on Redis, with these transport options."""
    return make_app(REDIS, REDIS, broker_transport_options=options)


def keys(**options: Any) -> set[str]:
    """Names of the keys that a client of the test's own sees."""
    with redis.Redis(decode_responses=True, **options) as client:
        return set(client.keys())


def test_a_priority_has_a_list_whose_name_ends_in_separator_and_number() -> None:
    app = on_redis(sep=":", priority_steps=[0, 3, 6], queue_order_strategy="priority")
    task = sleeper(app)
    with Simulation(app, workers=0) as sim:
        for priority in (0, 3, 6, 9):
            task.apply_async([1], priority=priority)
        assert {"celery", "celery:3", "celery:6"} <= keys()
        assert sim.queues["celery"].ready == 4
        sim.start_worker("w1", concurrency=1, prefetch_multiplier=1, wait=True)
        sim.run()
        published = [event.task_id for event in sim.trace.where("Published")]
        started = [one.task_id for one in sim.trace.attempts]
        assert started == published  # 0 is the most urgent
        assert sim.queues["celery"].ready == 0


def broadcast_app(broker: str = REDIS, routing_key: str = "celery", **options: Any) -> tuple[Celery, Any]:
    app = make_app(broker, REDIS, broker_transport_options=options)
    app.conf.task_queues = [Queue("celery"), Broadcast("reloads")]
    app.conf.task_routes = {"reload": {"queue": "reloads", "exchange": "reloads", "routing_key": routing_key}}

    @app.task(name="reload", shared=False)
    def reload() -> None:
        """Told to all."""

    return app, reload


DECLARED = [Exchange("reloads", "fanout")]
OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "/0.reloads/celery"),
    ({"fanout_prefix": "/shop."}, "/shop.reloads/celery"),
    ({"fanout_prefix": False}, "reloads/celery"),
    ({"fanout_patterns": False}, "/0.reloads"),
    ({"global_keyprefix": "shop:"}, "shop:/0.reloads/celery"),
]


@pytest.mark.parametrize(("options", "channel"), OPTIONS)
def test_a_broadcast_reaches_each_worker_by_its_channel(options: dict[str, Any], channel: str) -> None:
    app, reload = broadcast_app(**options)
    with Simulation(app, workers=3) as sim, redis.Redis(decode_responses=True) as client:
        subscriber = client.pubsub()
        subscriber.psubscribe("*reloads*")
        sim.advance(1)
        reload.apply_async(declare=DECLARED)
        sim.run()
        assert sorted(one.worker for one in sim.trace.of(reload).attempts) == ["w1", "w2", "w3"]
        told = [message["channel"] for message in iter(subscriber.get_message, None) if message["type"] == "pmessage"]
        assert told == [channel]
        subscriber.close()


def test_on_rabbitmq_each_worker_has_a_queue_of_its_own_for_a_broadcast() -> None:
    """Its name is made up when the app's module is imported, which each worker does for itself."""
    app, reload = broadcast_app("amqp://")
    with Simulation(app, workers=3) as sim:
        sim.advance(1)
        assert len([name for name in sim.queues if name.startswith("bcast.")]) == 3
        reload.delay()
        sim.run()
        assert sorted(one.worker for one in sim.trace.of(reload).attempts) == ["w1", "w2", "w3"]


def test_a_client_that_has_not_declared_the_exchange_broadcasts_to_nobody_on_redis() -> None:
    """The example of the user guide. So it went with two real workers on a real Redis (Celery and kombu 5.7)."""
    for routing_key in ("", "celery"):
        app, reload = broadcast_app(routing_key=routing_key)
        with Simulation(app, workers=2) as sim:
            sim.advance(1)
            reload.delay()
            sim.run()
            assert not sim.trace.of(reload).attempts


def test_a_broadcast_is_lost_for_those_that_were_away() -> None:
    app, reload = broadcast_app()
    with Simulation(app, workers=1) as sim:
        sim.advance(1)
        reload.apply_async(declare=DECLARED)
        sim.start_worker("late", wait=True)
        sim.run()
        assert [one.worker for one in sim.trace.of(reload).attempts] == ["w1"]


@pytest.mark.parametrize("patterns", [True, False])
def test_fanout_patterns_let_routing_keys_choose(patterns: bool) -> None:
    app = on_redis(fanout_patterns=patterns)
    seen: list[str] = []

    def take(body: str, message: Any) -> None:
        seen.append(body)
        message.ack()

    exchange = Exchange("news", "fanout")
    mail = Queue("mail", exchange, routing_key="mail.*")
    with (
        Simulation(app, workers=0),
        app.connection() as connection,
        connection.Producer() as producer,
        connection.Consumer([mail], callbacks=[take]),
    ):
        connection.drain_events(timeout=1)  # it subscribes when it begins to listen
        for key in ("shop.sale", "mail.sale"):
            producer.publish(key, exchange=exchange, routing_key=key, declare=[exchange])
        with contextlib.suppress(TimeoutError):
            while True:
                connection.drain_events(timeout=5)
    assert seen == (["mail.sale"] if patterns else ["shop.sale", "mail.sale"])


def test_without_acknowledgements_a_killed_workers_tasks_are_lost() -> None:
    lost = {}
    for emulation in (True, False):
        app = on_redis(visibility_timeout=60, ack_emulation=emulation)
        task = sleeper(app, acks_late=True)
        with Simulation(app, workers=2) as sim:
            result = task.delay(5)
            sim.run(sim.started(result))
            assert ("unacked" in keys()) is emulation
            sim.kill(worker=sim.trace.attempts[0].worker)
            sim.run(until=500)
            lost[emulation] = result.state != "SUCCESS"
    assert lost == {True: False, False: True}


def test_what_redis_has_handed_over_and_no_worker_has_read_yet_is_work() -> None:
    app = make_app(REDIS, REDIS, worker_prefetch_multiplier=1, task_acks_late=True)

    @app.task(bind=True, name="again", shared=False)
    def again(task: Any, times: int) -> None:
        time.sleep(1.0)
        if task.request.retries < times:
            task.retry(countdown=2)

    # Before kombu 5.7 the last retry lies in the worker's socket for a second, while nothing else is left to do.
    with Simulation(app, concurrency=1) as sim:
        results = [again.delay(times) for times in (1, 0, 1)]
        sim.run()
        assert [result.state for result in results] == ["SUCCESS"] * 3


def test_a_global_prefix_stands_before_each_key() -> None:
    app = on_redis(global_keyprefix="shop:")
    app.conf.result_backend_transport_options = {"global_keyprefix": "shop-results:"}
    task = sleeper(app, acks_late=True)
    with Simulation(app) as sim:
        result = task.delay(5)
        waiting = [task.delay(5) for _ in range(12)]
        sim.advance(1)
        assert {"shop:unacked", "shop:unacked_index", "shop:celery"} <= keys()
        sim.run()
        assert {one.state for one in (result, *waiting)} == {"SUCCESS"}
        assert f"shop-results:celery-task-meta-{result.id}" in keys()
        assert {name.split(":")[0] for name in keys()} == {"shop", "shop-results"}
        with redis.Redis() as client:
            assert client.llen("shop:celery") == 0


def test_an_idle_connection_is_asked_for_its_health_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    real = redis.connection.AbstractConnection._send_ping

    def ping(connection: Any) -> None:
        asked.append(sim.now)
        real(connection)

    monkeypatch.setattr(redis.connection.AbstractConnection, "_send_ping", ping)
    app = on_redis(health_check_interval=10)
    task = sleeper(app)
    with Simulation(app) as sim, redis.Redis(health_check_interval=25) as client:
        client.set("a", "b")
        sim.advance(100)
        workers = len(asked)
        assert 8 <= workers <= 20  # each 10 s, on the connection that listens to broadcasts
        assert client.get("a") == b"b"
        assert asked[workers:] == [100]
        client.get("a")
        assert len(asked) == workers + 1
        assert task.delay(1).get(timeout=30) == 1


@pytest.mark.parametrize("broken", ["cut", "restart", "refuse", "frozen"])
def test_a_worker_comes_back_after_whatever_befell_its_connections(broken: str) -> None:
    app = on_redis(visibility_timeout=100, socket_timeout=20, socket_connect_timeout=5)
    task = sleeper(app, acks_late=True)
    with Simulation(app) as sim:
        assert task.delay(1).get(timeout=30) == 1
        if broken == "cut":
            sim.cut(worker="w1")
        elif broken == "restart":
            sim.restart_broker(down=15)
        elif broken == "refuse":
            sim.refuse(seconds=15)
            sim.cut(worker="w1")
        else:
            sim.freeze(worker="w1")
            sim.thaw(worker="w1", at=sim.now + 15)
        sim.advance(60)
        assert task.delay(2).get(timeout=300) == 2
        assert sim.workers["w1"].state == "up"


async def counted(name: str) -> int:
    async with redis.asyncio.Redis(decode_responses=True) as client:
        async with client.pipeline(transaction=True) as pipe:
            pipe.incr(name)
            pipe.expire(name, 60)
            count, _ = await pipe.execute()
        await asyncio.sleep(2)
        return int(count)


@pytest.mark.parametrize("broker", ["amqp://", REDIS])
def test_asyncio_clients_in_tasks_and_in_the_test_see_one_server(broker: str) -> None:
    app = make_app(broker, REDIS)

    @app.task(name="count", shared=False)
    def count() -> int:
        return asyncio.run(counted("orders"))

    with Simulation(app, workers=2) as sim:
        results = [count.delay() for _ in range(4)]
        assert sorted(result.get(timeout=30) for result in results) == [1, 2, 3, 4]
        begin = sim.now
        assert asyncio.run(counted("orders")) == 5
        assert sim.now - begin == pytest.approx(2, abs=0.01)
        sim.advance(59)
        assert "orders" not in keys()


def test_an_asyncio_subscriber_of_the_test_hears_what_a_task_says() -> None:
    app = make_app(REDIS, REDIS)

    @app.task(name="say", shared=False)
    def say(word: str) -> None:
        time.sleep(3)
        redis.Redis().publish("words", word)

    async def listen() -> str:
        async with redis.asyncio.Redis(decode_responses=True) as client, client.pubsub() as subscriber:
            await subscriber.subscribe("words")
            say.delay("hello")
            async for message in subscriber.listen():
                if message["type"] == "message":
                    return str(message["data"])
        raise AssertionError("unreachable")

    with Simulation(app) as sim:
        assert asyncio.run(listen()) == "hello"
        assert sim.now == pytest.approx(3, abs=0.01)


def test_several_clients_of_one_server_and_its_databases() -> None:
    """A lock, a cache and a rate limit beside broker and results, by sync clients in globals and in tasks."""
    app = make_app("redis://cache/0", "redis://cache/1")
    cache = redis.Redis(host="cache", db=2, decode_responses=True)
    order: list[tuple[str, float]] = []

    @app.task(name="locked", shared=False)
    def locked(name: str) -> None:
        with cache.lock("till", timeout=30, blocking_timeout=20):
            order.append((name, sim.now))
            time.sleep(4)
        cache.set("last", name, ex=50)

    with Simulation(app, workers=2) as sim:
        for name in "abc":
            locked.delay(name)
        sim.run()
        assert [name for name, _ in order] == ["a", "b", "c"]
        assert [after - before for (_, before), (_, after) in pairwise(order)] == [pytest.approx(4, abs=0.2)] * 2
        assert cache.get("last") == "c"
        assert keys(host="cache", db=2) == {"last"}
        assert len({client["addr"] for client in cache.client_list()}) >= 6
        sim.advance(51)
        assert cache.get("last") is None
