"""Worlds of our own, made of what Celery and kombu leave to hashes, to addresses in memory and to counters.

Each is a function of a seed that gives the trace; the programs of the conformance corpus cover the rest.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from celery import Celery, chord, group
from celery.exceptions import ChordError
from celery.result import GroupResult
from kombu import Exchange, Queue, binding

from tasksim import Simulation
from tasksim.trace.log import Trace

AMQP, REDIS = "amqp://", "redis://127.0.0.1:6379/0"


def make_app(broker: str, backend: str, **settings: Any) -> Celery:
    """An app whose tasks tell chance, time and their own process to whoever asks."""
    app = Celery("worlds", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(
        broker_connection_retry_on_startup=True, worker_cancel_long_running_tasks_on_connection_loss=True, **settings
    )

    @app.task(name="work", shared=False)
    def work(seconds: float = 0.0) -> float:
        time.sleep(seconds)
        return seconds

    @app.task(name="chance", shared=False)
    def chance() -> list[str]:
        work.apply_async(task_id=str(uuid.uuid4()))
        drawn = [uuid.uuid1(), uuid.uuid4(), random.random(), os.urandom(4).hex(), random.choice("abcdef"), os.getpid()]
        return [str(one) for one in drawn]

    @app.task(name="fails", shared=False, bind=True, max_retries=2, autoretry_for=(OSError,), retry_backoff=1)
    def fails(self: Any) -> None:
        raise OSError(f"no luck in {os.getpid()}, {random.random():.6f}, {uuid.uuid4()}")

    @app.task(name="total", shared=False, bind=True)
    def total(self: Any, values: list[float]) -> str:
        return f"{sum(values)} {self.request.delivery_info['routing_key']} {sorted(self.request.stamped_headers or ())}"

    return app


def _outcome(result: Any) -> Any:
    try:
        return result.get(timeout=60)
    except ChordError as error:  # in old releases a part that ran twice may have been counted twice
        return str(error)


def several_workers(broker: str, backend: str, seed: int) -> Trace:
    """Gossip and mingle among three workers, a group and a chord, revocations of many, a cut, a worker killed."""
    app = make_app(broker, backend, task_acks_late=True, worker_prefetch_multiplier=2)
    work, chance, fails, total = (app.tasks[name] for name in ("work", "chance", "fails", "total"))
    with Simulation(app, workers=3, concurrency=2, seed=seed) as sim:
        drawn = chance.delay().get(timeout=30)
        many = [work.apply_async((2.0,), countdown=30 + number % 3) for number in range(12)]
        together = group(work.s(0.5 * (number % 3)) for number in range(9)).apply_async()
        signature = chord([work.s(0.1 * number) for number in range(5)], total.s())
        signature.stamp(zebra="z", apple="a", mango=["m", "n"])
        summed = signature.apply_async()
        doomed = [fails.delay() for _ in range(3)]
        sim.run(until=1.0)
        app.control.revoke([one.id for one in many[:7]])
        sim.cut(worker="w1", at=1.5)
        sim.kill(worker="w2", at=2.2)
        sim.stop(worker="w3", how="cold", at=8.0)
        answers = app.control.inspect(timeout=1.0).registered()
        assert answers
        assert isinstance(together, GroupResult)
        sim.run(until=60.0)
        told = [together.get(timeout=60), _outcome(summed), drawn]
        told += [repr(one.result) for one in doomed]
        sim.at(sim.now, lambda: None)
        return _with(sim.trace, told)


def many_bindings(broker: str, backend: str, seed: int) -> Trace:
    """Queues with several bindings, topics that reach several queues, a limit on time, a rate limit, beat."""
    topic = Exchange("things", type="topic")
    queues = [
        Queue(name, [binding(topic, routing_key=key) for key in ("things.#", f"*.{name}", f"{name}.*.more", "#.all")])
        for name in ("red", "green", "blue", "yellow")
    ]
    app = make_app(
        broker, backend, task_queues=queues, task_default_queue="red", task_default_exchange="things",
        task_default_routing_key="things.some", task_annotations={"work": {"rate_limit": "5/s"}},
        beat_schedule={name: {"task": "chance", "schedule": 7.0} for name in ("zebra", "apple", "mango")},
    )  # fmt: skip
    work = app.tasks["work"]
    with Simulation(app, workers=2, concurrency=2, seed=seed, beat=True) as sim:
        results = [
            work.apply_async((0.3,), routing_key=key) for key in ("things.a.all", "x.green", "blue.1.more", "all")
        ]
        results.append(work.apply_async((30.0,), soft_time_limit=2, time_limit=4))
        sim.run(until=12.0)
        sim.restart_broker(down=3.0)
        sim.run(until=40.0)
        return _with(sim.trace, [repr(one.result) for one in results])


def faulty_servers(broker: str, backend: str, seed: int) -> Trace:
    """Servers that evict by chance, are slow, have no memory, are killed, and fail over with losses."""
    app = make_app(broker, backend, task_acks_late=True)
    work, chance = app.tasks["work"], app.tasks["chance"]
    config = {"save": "3 2", "maxmemory": "2mb", "maxmemory-policy": "allkeys-lru", "maxmemory-samples": "3"}
    with Simulation(app, workers=2, concurrency=2, seed=seed, redis_config=config) as sim:
        sim.evict(keys=3, policy="allkeys-random", server="backend", at=2.0)
        sim.slow(0.2, seconds=2.0, at=3.0)
        sim.restart_broker(down=1.0, how="kill", lost=0.0, when=sim.on("Finished", nth=4))
        sim.evict(keys=2, server="backend", at=20.0)
        sim.failover(lost=0.5, down=2.0, back=10.0, at=30.0)
        results = []
        for number in range(8):
            sim.run(until=4.0 * number)
            try:
                results += [work.delay(1.0 + number % 3), chance.delay()]
            except Exception as error:
                results.append(error)
        sim.alarm(1.0, server="backend", at=38.0)
        sim.run(until=90.0)
        return _with(sim.trace, [repr(one) for one in results])


def _with(trace: Trace, told: list[Any]) -> Trace:
    """What results say belongs to what must be equal."""
    trace.metadata["told"] = repr(told)
    return trace


WORLDS: dict[str, Callable[[int], Trace]] = {
    f"{function.__name__}.{name}": lambda seed, function=function, urls=urls: function(*urls, seed)  # type: ignore[misc]
    for function in (several_workers, many_bindings, faulty_servers)
    for name, urls in {"amqp": (AMQP, "cache+memory://"), "redis": (REDIS, REDIS), "both": (AMQP, REDIS)}.items()
    if not (function is faulty_servers and name == "amqp")
}


def run(name: str, seed: int) -> Trace:
    """Run one of them."""
    return WORLDS[name](seed)
