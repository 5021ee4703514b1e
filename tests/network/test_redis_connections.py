"""Connections to simulated Redis servers: who has them, how they end, and what survives."""

from __future__ import annotations

import os
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasksim.events import Connected, Disconnected, ServerStarted, ServerStopped
from tasksim.network.redis_seam import ROWS
from tasksim.patching.table import find
from tests.redis_scene import World

#: A client in a module's global, as applications have it.
GLOBAL = redis.Redis()


def impatient(**options: object) -> redis.Redis:
    """A client that does not try again."""
    return redis.Redis(retry=Retry(NoBackoff(), 0), **options)


def test_each_address_is_a_server_and_this_machine_has_one_name(world: World) -> None:
    redis.Redis("localhost").set("a", "here")
    assert redis.Redis("127.0.0.1").get("a") == b"here"
    assert redis.Redis("localhost", 6380).get("a") is None
    assert redis.Redis("cache.example").get("a") is None
    assert [server.name for server in world.redis.all()] == ["redis", "redis-2", "redis-3"]


def test_databases_of_one_server_are_apart(world: World) -> None:
    redis.Redis(db=0).set("a", "zero")
    redis.Redis(db=1).set("a", "one")
    assert redis.Redis(db=0).get("a") == b"zero"
    assert redis.Redis(db=1).get("a") == b"one"
    redis.Redis(db=1).flushdb()
    assert redis.Redis(db=0).get("a") == b"zero"
    assert len(world.redis.all()) == 1


def test_tls_and_unix_sockets_are_served_too(world: World) -> None:
    redis.Redis(ssl=True).set("a", "1")
    assert redis.Redis().get("a") == b"1"
    redis.Redis(unix_socket_path="/run/redis.sock").set("b", "2")
    assert redis.Redis(unix_socket_path="/run/redis.sock").get("b") == b"2"
    assert len(world.redis.all()) == 2


def test_connections_are_recorded_with_their_process_and_their_end(world: World) -> None:
    def works() -> None:
        client = redis.Redis()
        client.ping()
        client.close()

    world.process("w1", works)
    world.sleep(1)
    assert world.seen(Connected, Disconnected) == [
        Connected(0.0, "w1", "redis", 1),
        Disconnected(0.0, "w1", "redis", 1, "closed"),
    ]


def test_a_killed_process_leaves_no_connection_and_no_blocked_client(world: World, client: redis.Redis) -> None:
    victim = world.process("w1", lambda: redis.Redis().brpop("queue"))
    world.sleep(1)
    world.kill(victim)
    assert [event.reason for event in world.seen(Disconnected)] == ["process died"]
    client.lpush("queue", "a")
    assert client.llen("queue") == 1
    assert not world.server.store.blocked


def test_an_idle_connection_that_is_cut_is_opened_again_by_the_client(world: World, client: redis.Redis) -> None:
    client.set("a", "1")
    world.server.sever(1)
    assert client.get("a") == b"1"
    assert [event.reason for event in world.seen(Disconnected)] == ["cut"]
    assert len(world.seen(Connected)) == 2


def test_a_blocked_client_that_is_cut_gets_a_connection_error(world: World) -> None:
    got = []

    def waits() -> None:
        with pytest.raises(redis.ConnectionError, match="Connection closed by server"):
            impatient().brpop("queue")
        got.append(world.now())

    world.process("w1", waits)
    world.sleep(2)
    world.server.sever(1)
    world.sleep(1)
    assert got == [2.0]


def test_a_client_that_is_killed_by_another_is_hung_up_on(world: World, client: redis.Redis) -> None:
    other = impatient(single_connection_client=True)
    client.client_kill_filter(_id=other.client_id())
    world.sleep(0)
    assert [event.reason for event in world.seen(Disconnected)] == ["killed by CLIENT KILL"]
    with pytest.raises(redis.ConnectionError):
        other.ping()


def test_a_server_that_is_down_refuses_as_a_real_one_does(world: World) -> None:
    world.server.stop()
    with pytest.raises(redis.ConnectionError, match=r"Error 111 connecting to localhost:6379\. Connection refused"):
        impatient().ping()


def test_a_refusing_server_keeps_the_connections_it_has(world: World, client: redis.Redis) -> None:
    client.ping()
    world.network.refusing.add("redis")
    assert client.ping()
    with pytest.raises(redis.ConnectionError, match="refused"):
        impatient().ping()


def test_a_client_waits_for_a_server_that_comes_back(world: World) -> None:
    got = []

    def waits() -> None:
        while True:
            try:
                got.append((impatient().ping(), world.now()))
                return
            except redis.ConnectionError:
                time.sleep(1)

    world.server.stop()
    world.process("w1", waits)
    world.sleep(2.5)
    world.server.start()
    world.sleep(2)
    assert got == [(True, 3.0)]


def test_a_restart_loses_the_data_unless_the_server_keeps_it(world: World, client: redis.Redis) -> None:
    client.set("a", "1")
    world.server.stop()
    world.server.start()
    assert client.get("a") is None

    client.config_set("appendonly", "yes")
    client.set("a", "1")
    client.set("b", "1", ex=10)
    digest = client.script_load("return 1")
    world.server.stop()
    world.sleep(20)
    world.server.start()
    assert client.get("a") == b"1"
    assert client.get("b") is None
    assert client.script_exists(digest) == [False]
    assert client.config_get("appendonly") == {"appendonly": "no"}  # nobody wrote it into its file
    assert len(world.seen(ServerStopped)) == len(world.seen(ServerStarted)) == 2


def test_stopping_hangs_up_on_everybody(world: World, client: redis.Redis) -> None:
    client.ping()
    world.process("w1", lambda: impatient().brpop("queue"))
    world.kernel.sleep(1)
    world.server.stop()
    assert [event.reason for event in world.seen(Disconnected)] == ["server stopped"] * 2
    assert not world.server.connections


def test_replies_take_the_latency_of_the_wire_twice(world: World, client: redis.Redis) -> None:
    client.ping()
    world.network.latency = 0.01
    client.ping()
    assert world.now() == pytest.approx(0.02)


def test_a_reply_that_does_not_come_is_a_timeout(world: World) -> None:
    client = impatient(socket_timeout=2)
    client.ping()
    next(iter(world.network.wires.values())).freeze()
    with pytest.raises(redis.TimeoutError, match="Timeout reading from socket"):
        client.ping()
    assert world.now() == pytest.approx(2)


def test_a_global_client_of_two_processes_opens_two_connections(world: World) -> None:
    def works() -> None:
        for _ in range(50):
            GLOBAL.incr("n")
            time.sleep(0.01)

    world.process("w1", works)
    world.process("w2", works)
    world.sleep(0.45)
    assert len(world.server.connections) == 2
    world.sleep(10)
    assert len(world.seen(Connected)) == 2
    assert GLOBAL.get("n") == b"100"


def test_a_forked_child_does_not_use_its_parents_connection(world: World) -> None:
    def parent() -> None:
        GLOBAL.set("who", "parent")
        world.unix.fork("w1/1", lambda: GLOBAL.set("who", "child") and None)
        time.sleep(1)
        assert GLOBAL.get("who") == b"child"

    world.process("w1", parent)
    world.sleep(2)
    assert [event.process for event in world.seen(Connected)] == ["w1", "w1/1"]


def test_a_global_client_begins_anew_in_the_next_simulation_and_after_it(world: World) -> None:
    GLOBAL.ping()
    world.close()
    again = World()
    again.install()
    try:
        GLOBAL.ping()
        assert [event.connection for event in again.seen(Connected)] == [1]
    finally:
        again.close()
    pool = GLOBAL.connection_pool
    pool._checkpid()
    assert pool.pid == os.getpid()
    assert pool._available_connections == []


def test_a_pool_closes_its_connections_in_the_order_of_opening(world: World, client: redis.Redis) -> None:
    pool = client.connection_pool
    held = [redis.Redis(connection_pool=pool, single_connection_client=True) for _ in range(30)]
    pool.disconnect()
    assert [event.connection for event in world.seen(Disconnected)] == list(range(1, 31))
    assert len(held) == 30


def test_nothing_stays_replaced(world: World) -> None:
    world.close()
    before = {row.place: vars(find(row.place)[0]).get(find(row.place)[1]) for row in ROWS}
    again = World()
    again.install()
    redis.Redis().lock("lock").acquire()
    again.close()
    after = {row.place: vars(find(row.place)[0]).get(find(row.place)[1]) for row in ROWS}
    assert after == before


def test_any_password_is_right_unless_the_server_has_a_list(world: World) -> None:
    assert impatient(username="shop", password="secret").ping()
    world.server.store.logins = {"shop": "secret"}
    assert impatient(username="shop", password="secret").ping()
    assert impatient().ping()
    for protocol in (2, 3):
        with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
            impatient(username="shop", password="wrong", protocol=protocol).ping()
    with pytest.raises(redis.AuthenticationError, match="without any password configured"):
        impatient(password="secret", protocol=2).ping()
