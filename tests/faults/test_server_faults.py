"""Faults of servers: what they lose, whom they refuse, and what Celery makes of it."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
import redis
from kombu import Queue
from kombu.exceptions import OperationalError

from tasksim import Simulation
from tasksim.errors import UsageError
from tests.scene import AMQP, BROKERS, REDIS, make_app, sleeper

seeds = pytest.mark.parametrize("seed", range(3))
both = pytest.mark.parametrize("broker", BROKERS)
SENTINEL = "sentinel://localhost:26379"
NEVER = {"broker_transport_options": {"visibility_timeout": 10_000}}


def starts(sim: Simulation, *results: Any) -> list[int]:
    """How often each task was started."""
    return [len(sim.trace.of(result).starts) for result in results]


def dropped(sim: Simulation, reason: str) -> list[str]:
    """Ids of the tasks whose messages were lost so."""
    return [event.task_id for event in sim.trace.where("Dropped", reason=reason)]


# --- a restart of Redis


@seeds
@pytest.mark.parametrize(
    ("config", "how", "kept"),
    [
        ({}, "stop", [0, 0, 0]),
        ({"save": "3600 1"}, "stop", [1, 1, 1]),
        ({"save": "3600 1"}, "kill", [0, 0, 0]),
        ({"save": "2 1"}, "kill", [1, 1, 0]),
        ({"save": "2 1"}, "power", [1, 1, 0]),
        ({"appendonly": True}, "kill", [1, 1, 1]),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "power", [1, 1, 0]),
        ({"appendonly": "yes", "appendfsync": "no"}, "power", [0, 0, 0]),
        ({"appendonly": "yes", "appendfsync": "always"}, "power", [1, 1, 1]),
    ],
)
def test_over_a_restart_redis_keeps_what_it_is_configured_to(
    config: dict[str, object], how: str, kept: list[int], seed: int
) -> None:
    app = make_app(REDIS)
    task = sleeper(app)
    with Simulation(app, workers=0, redis_config=config, seed=seed) as sim:
        published = []
        for moment in (0.5, 5.5, 7.125):
            sim.run(until=moment)
            published.append(task.delay(1))
        sim.restart_broker(down=5, how=how, at=7.25)
        sim.start_worker("w1", at=20)
        sim.run()
        assert starts(sim, *published) == kept
        lost = [one.id for one, times in zip(published, kept, strict=True) if not times]
        assert sorted(dropped(sim, "server restarted")) == sorted(lost)
        assert len(sim.check("nothing_lost")) == len(lost)


@seeds
def test_what_was_done_since_the_snapshot_is_done_again(seed: int) -> None:
    app = make_app(REDIS)
    task = sleeper(app)
    with Simulation(app, workers={"w1": {"at": 8}}, redis_config={"save": "5 1"}, seed=seed) as sim:
        result = task.delay(1)  # it waits for a worker when the snapshot is taken
        sim.restart_broker(down=2, how="kill", when=sim.finished(task))
        sim.run()
        assert starts(sim, result) == [2]
        assert [event.reason for event in sim.trace.where("Requeued")] == ["server restarted"]
        assert [finding.check for finding in sim.check("nothing_twice")] == ["nothing_twice"]


def test_results_go_with_a_server_that_keeps_nothing() -> None:
    app = make_app(AMQP, backend=REDIS)
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(1)
        assert result.get() == 1
        sim.restart_broker(down=1, server="backend")
        sim.advance(5)
        assert app.AsyncResult(result.id).state == "PENDING"
        assert sim.trace.where("ServerStopped")[0].server == "redis"
        assert task.delay(2).get() == 2


@both
def test_clients_are_refused_while_the_broker_is_down_and_go_on_when_it_is_up(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(1).get()
        sim.restart_broker(down=30, how="kill")
        with pytest.raises(OperationalError):
            task.apply_async((1,), retry=False)
        # Celery's own retries: three, in 0, 0.2 and 0.4 s.
        with pytest.raises(OperationalError, match="refused"):
            task.delay(1)
        sim.advance(30)
        assert sim.workers["w1"].state == "up"
        assert task.delay(1).get() == 1


# --- a restart of RabbitMQ


def test_rabbitmq_loses_in_a_crash_what_was_not_confirmed_and_not_yet_on_the_disk() -> None:
    app = make_app(AMQP)
    task = sleeper(app)
    sure = make_app(AMQP, broker_transport_options={"confirm_publish": True})
    certain = sleeper(sure)
    with Simulation(app, workers=0) as sim:
        early = task.delay(1)
        sim.restart_broker(down=5, how="kill", lost=0.3, at=10)
        sim.run(until=9.8)
        late = task.delay(1)
        confirmed = certain.delay(1)
        sim.start_worker("w1", at=20)
        sim.run()
        assert starts(sim, early, late, confirmed) == [1, 0, 1]
        assert dropped(sim, "server restarted") == [late.id]


# --- failover


@seeds
@pytest.mark.parametrize("broker", [REDIS, SENTINEL])
def test_the_new_master_lacks_the_last_seconds(broker: str, seed: int) -> None:
    options = {"broker_transport_options": {"master_name": "mymaster"}} if broker == SENTINEL else {}
    app = make_app(broker, **options)
    task = sleeper(app)
    with Simulation(app, workers=0, seed=seed) as sim:
        early = task.delay(1)
        sim.failover(lost=2, down=3, at=10)
        sim.run(until=9)
        late = task.delay(1)
        sim.start_worker("w1", at=20)
        sim.run(until=60)
        assert starts(sim, early, late) == [1, 0]
        assert dropped(sim, "failover") == [late.id]
        assert [finding.check for finding in sim.check("nothing_lost")] == ["nothing_lost"]


@seeds
@pytest.mark.parametrize("broker", [REDIS, SENTINEL])
def test_a_worker_finds_the_new_master_and_goes_on(broker: str, seed: int) -> None:
    options = {"broker_transport_options": {"master_name": "mymaster"}} if broker == SENTINEL else {}
    app = make_app(broker, **options)
    task = sleeper(app)
    with Simulation(app, seed=seed) as sim:
        assert task.delay(1).get() == 1
        sim.failover(down=5)
        sim.run(until=60)
        assert sim.workers["w1"].state == "up"
        result = task.delay(1)
        assert result.get() == 1
        assert {event.server for event in sim.trace.where("Connected", worker="w1")} >= {"redis"}
        assert sim.trace.where("ServerStarted")[0].server.startswith("redis-")


@seeds
def test_a_late_acknowledgement_that_the_replica_has_not_got_runs_the_task_again(seed: int) -> None:
    app = make_app(REDIS, broker_transport_options={"visibility_timeout": 60})
    task = sleeper(app, acks_late=True)
    with Simulation(app, seed=seed) as sim:
        result = task.delay(10)
        sim.failover(lost=1, when=sim.acked(task))
        sim.run()
        assert starts(sim, result) == [2]
        assert [finding.check for finding in sim.check("nothing_twice")] == ["nothing_twice"]


def test_a_replica_that_hears_nothing_any_more_is_as_old_as_that() -> None:
    app = make_app(REDIS)
    task = sleeper(app)
    with Simulation(app, workers=0) as sim:
        early = task.delay(1)
        sim.advance(1)
        sim.stop_replication()
        late = task.delay(1)
        sim.advance(100)
        sim.failover()
        assert dropped(sim, "failover") == [late.id]
        assert sim.queues["celery"].ready == 1
        sim.start_worker("w1")
        sim.run()
        assert starts(sim, early, late) == [1, 0]


def test_a_failover_with_losses_has_to_be_planned() -> None:
    with Simulation(make_app(REDIS)) as sim, pytest.raises(UsageError, match="stop_replication"):
        sim.failover(lost=2)


@seeds
@pytest.mark.parametrize("version", ["3.13", "4.1"])
def test_quorum_queues_go_on_when_a_node_of_rabbitmq_is_lost(version: str, seed: int) -> None:
    app = make_app(
        AMQP, task_queues=[Queue("celery", queue_arguments={"x-queue-type": "quorum"})],
        broker_transport_options={"confirm_publish": True},
    )  # fmt: skip
    task = sleeper(app, acks_late=True)
    with Simulation(app, rabbitmq=version, concurrency=1, seed=seed) as sim:
        first, second = task.delay(10), task.delay(10)
        sim.failover(lost=60, down=2, at=5)
        sim.run()
        assert starts(sim, first, second) == [2, 1]
        assert sim.trace.of(second).state == "SUCCESS"
        assert sim.check("nothing_lost") == []
        assert sim.workers["w1"].state == "up"


@seeds
def test_classic_queues_wait_for_their_node_and_a_worker_ends_that_declares_one(seed: int) -> None:
    app = make_app(AMQP)
    task = sleeper(app)
    with Simulation(app, seed=seed) as sim:
        sim.start_worker("other", queues=["nothing_here"])  # so that "celery" keeps its message
        task.apply_async((1,), queue="kept")
        sim.failover(down=1, back=60, at=5)
        sim.run(until=30)
        assert sim.workers["w1"].state == "down"
        assert sim.workers["w1"].exitcode == 1
        assert "kept" not in sim.queues
        with pytest.raises(Exception, match="home node 'rabbit@rabbitmq' of durable queue 'kept' in vhost '/' is down"):
            task.apply_async((1,), queue="kept")
        sim.run(until=66)
        assert sim.queues["kept"].ready == 1
        sim.start_worker("w1", queues=["kept"])
        sim.run()
        assert sim.trace.of(task).states[-1] == "SUCCESS"


# --- out of memory


def test_a_call_fails_when_redis_is_out_of_memory_and_reads_go_on() -> None:
    app = make_app(REDIS, backend=REDIS)
    task = sleeper(app)
    with Simulation(app) as sim:
        done = task.delay(1)
        assert done.get() == 1
        sim.alarm(30)
        with pytest.raises(OperationalError, match="used memory > 'maxmemory'"):
            task.delay(1)
        assert app.AsyncResult(done.id).state == "SUCCESS"
        assert dropped(sim, "refused") != []
        assert sim.check("nothing_lost") == []  # the caller was told
        sim.advance(31)
        assert sim.workers["w1"].state == "up"
        assert task.delay(2).get() == 2


@pytest.mark.parametrize("seed", range(2))  # under others it ends while a pool process writes, and waits for good
def test_a_worker_ends_when_it_acknowledges_to_a_redis_that_is_out_of_memory(seed: int) -> None:
    # A real worker did the same, to the exit code and the message that stays behind (Celery 5.7, redis-server 7.0.15).
    app = make_app(REDIS, backend=REDIS, **NEVER)
    task = sleeper(app)
    with Simulation(app, seed=seed) as sim:
        results = [task.delay(3) for _ in range(3)]
        sim.alarm(12, at=1)
        sim.run(until=30)
        assert sim.workers["w1"].state == "down"
        assert sim.workers["w1"].exitcode == 1
        assert sim.queues["celery"].unacked == 1
        assert [result.state for result in results] == ["PENDING"] * 3
        assert [event.state for event in sim.trace.where("Finished")] == ["SUCCESS"] * 3


@seeds
def test_what_a_full_redis_evicts_is_lost_results_first_if_only_they_expire(seed: int) -> None:
    app = make_app(REDIS, backend=REDIS)
    task = sleeper(app)
    config = {"maxmemory-policy": "volatile-lru"}
    with Simulation(app, redis_config=config, seed=seed) as sim:
        done = task.delay(1)
        assert done.get() == 1
        waiting = task.apply_async((1,), queue="later")
        sim.evict(keys=1)
        assert app.AsyncResult(done.id).state == "PENDING"
        sim.evict(keys=100)
        assert sim.queues["later"].ready == 1
        sim.evict(keys=100, policy="allkeys-random")
        assert dropped(sim, "evicted") == [waiting.id]
        assert [finding.check for finding in sim.check("nothing_lost")] == ["nothing_lost"]


def test_what_is_evicted_follows_the_seed() -> None:
    def left(seed: int) -> list[bytes]:
        app = make_app(REDIS)
        sleeper(app)
        with Simulation(app, workers=0, seed=seed, redis_config={"maxmemory-policy": "allkeys-random"}) as sim:
            client = redis.Redis()
            client.mset({f"key {number}": "x" for number in range(20)})
            sim.evict(keys=10)
            return sorted(client.keys("key *"))

    assert left(1) == left(1)
    assert len({tuple(left(seed)) for seed in range(4)}) > 1


def test_the_least_used_keys_make_room_for_new_ones() -> None:
    app = make_app(REDIS)
    sleeper(app)
    config = {"maxmemory": "1mb", "maxmemory-policy": "allkeys-lru", "maxmemory-samples": "1000"}
    with Simulation(app, workers=0, redis_config=config) as sim:
        client = redis.Redis()
        for number in range(40):
            client.set(f"key {number}", b"x" * 10_000)
            client.get("key 0")
            sim.advance(1)
        left = [number for number in range(40) if client.exists(f"key {number}")]
        assert 10 < len(left) < 20
        assert left == [0, *range(40 - len(left) + 1, 40)]


def test_rabbitmq_and_redis_are_filled_by_the_same_word() -> None:
    app = make_app(AMQP, backend=REDIS)
    task = sleeper(app)
    with Simulation(app) as sim:
        sim.alarm(20, server="rabbitmq", at=5)
        sim.alarm(20, server="backend", at=50)
        sim.clear_alarm(server="backend", at=60)
        sim.run(until=6)
        task.delay(1)
        blocked = task.delay(1)
        sim.run(until=24)
        assert starts(sim, blocked) == [0]
        sim.run(until=55)
        assert starts(sim, blocked) == [1]
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            redis.Redis().set("a", "1")
        sim.run(until=61)
        assert redis.Redis().set("a", "1")


# --- slow answers, refusals


@both
def test_a_slow_server_answers_late_and_is_asked_at_once(broker: str) -> None:
    app = make_app(broker)
    task = sleeper(app)
    with Simulation(app) as sim:
        task.delay(0).get()
        sim.slow(0.5, seconds=100)
        began = sim.now
        result = task.delay(0)
        sim.run(until=sim.started(task))
        first = sim.now - began
        assert 0.5 <= first <= 3
        sim.run(until=150)
        began = sim.now
        result = task.delay(0)
        assert result.get() == 0
        assert sim.trace.of(result).starts[0] == began


def test_a_slow_result_store_makes_redis_clients_give_up() -> None:
    app = make_app(AMQP, backend=REDIS, redis_socket_timeout=2.0, redis_retry_on_timeout=False)
    task = sleeper(app)
    with Simulation(app) as sim:
        result = task.delay(1)
        assert result.get() == 1
        sim.slow(5, seconds=20, server="backend")
        with pytest.raises(redis.exceptions.TimeoutError):
            app.backend.client.get("anything")
        sim.advance(30)
        assert app.backend.client.get("anything") is None


def test_one_server_is_refused_and_not_the_other() -> None:
    app = make_app(AMQP, backend=REDIS)
    task = sleeper(app)
    with Simulation(app, workers=0) as sim:
        sim.refuse(server="broker")
        with pytest.raises(OperationalError, match="refused"):
            task.apply_async((1,), retry=False)
        assert redis.Redis().ping()
        sim.accept(server="broker")
        sim.refuse(60, server="backend")  # redis-py tries three times more, within some seconds
        with pytest.raises(redis.exceptions.ConnectionError, match="refused"):
            redis.Redis().ping()
        task.apply_async((1,), retry=False, ignore_result=True)
        sim.advance(60)
        assert redis.Redis().ping()


# --- mistakes


@pytest.mark.parametrize(
    ("mistake", "remedy"),
    [
        (lambda sim: sim.restart_broker(how="gently"), "stop, kill, power"),
        (lambda sim: sim.restart_broker(lost=1), 'how="kill"'),
        (lambda sim: sim.restart_broker(how="kill", lost=1), "redis_config"),
        (lambda sim: sim.slow(-1), "0 or more"),
        (lambda sim: sim.slow("1"), r"slow\(delay='1'\): give seconds"),
        (lambda sim: sim.slow(1, nan), r"slow\(seconds=nan\)"),
        (lambda sim: sim.refuse("2"), r"refuse\(seconds='2'\)"),
        (lambda sim: sim.alarm(-1), r"alarm\(seconds=-1\)"),
        (lambda sim: sim.restart_broker("5"), r"restart_broker\(down='5'\)"),
        (lambda sim: sim.restart_broker(how="kill", lost=None), r"restart_broker\(lost=None\)"),
        (lambda sim: sim.failover(down="5"), r"failover\(down='5'\)"),
        (lambda sim: sim.failover(back=True), r"failover\(back=True\)"),
        (lambda sim: sim.evict(2.0), r"evict\(keys=2.0\): give a whole number"),
        (lambda sim: sim.evict(policy="noeviction"), "allkeys-lru"),
        (lambda sim: sim.alarm(server="nobody"), "broker, backend, redis"),
        (lambda sim: sim.alarm(server="backend"), "no simulated server"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(mistake: Any, remedy: str) -> None:
    with Simulation(make_app(REDIS)) as sim, pytest.raises(UsageError, match=remedy):
        mistake(sim)


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        ({"maxmemory": "lots"}, "must be a memory value"),
        ({"maxmemory-policy": "lru"}, "volatile-lru"),
        ({"save": "1"}, "Invalid save parameters"),
        ({"appendonly": "perhaps"}, "'yes' or 'no'"),
        ({"cluster-enabled": "yes"}, "settings are appendfsync"),
    ],
)
def test_a_configuration_is_read_before_anything_runs(config: dict[str, object], remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy), Simulation(make_app(REDIS), redis_config=config):
        pass


def test_a_restart_that_is_refused_leaves_the_server_up() -> None:
    app = make_app(REDIS)
    task = sleeper(app)
    with Simulation(app) as sim:
        with pytest.raises(UsageError, match="down='5'"):
            sim.restart_broker("5")  # type: ignore[arg-type]
        assert task.delay(1).get() == 1
        assert sim.trace.where("ServerStopped") == []
