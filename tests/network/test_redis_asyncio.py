"""redis.asyncio over simulated wires, in an event loop that parks in the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tasksim.events import Connected, Disconnected
from tasksim.patching import standard
from tests.redis_scene import World

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run(world: World) -> Run:
    """asyncio.run on a loop of the simulation's own."""

    class Gate:
        def inside(self) -> bool:
            return True

    world.gate = Gate()  # type: ignore[attr-defined]
    world.patches.install(standard.ROWS, world)
    return asyncio.run


def test_commands_and_blocking_pops_work_in_virtual_time(world: World, run: Run) -> None:
    got = []

    async def works() -> None:
        async with redis.asyncio.Redis() as client:
            await client.set("a", "1")
            pop = asyncio.create_task(client.blpop("queue", 60))
            await asyncio.sleep(1)
            got.append((await client.get("a"), world.now()))
            got.append((await pop, world.now()))

    world.process("w1", lambda: run(works()))
    world.sleep(2.5)
    redis.Redis().lpush("queue", "hello")
    world.sleep(1)
    assert got == [(b"1", 1.0), ((b"queue", b"hello"), 2.5)]


def test_a_subscriber_and_a_lock_work(world: World, run: Run) -> None:
    got = []

    async def works() -> None:
        async with redis.asyncio.Redis() as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
            await subscriber.subscribe("news")
            async with client.lock("lock", timeout=10):
                while (message := await subscriber.get_message(timeout=5)) is None:
                    pass
                got.append((message["data"], world.now()))

    world.process("w1", lambda: run(works()))
    world.sleep(3)
    client = redis.Redis()
    assert client.exists("lock")
    client.publish("news", "first")
    world.sleep(1)
    assert got == [(b"first", 3.0)]
    assert not client.exists("lock")


def test_a_connection_that_is_cut_fails_the_command_that_waits(world: World, run: Run) -> None:
    got = []

    async def works() -> None:
        async with redis.asyncio.Redis(retry=Retry(NoBackoff(), 0)) as client:
            try:
                await client.blpop("queue")
            except redis.ConnectionError:
                got.append(world.now())

    world.process("w1", lambda: run(works()))
    world.sleep(1)
    world.server.sever(next(iter(world.server.connections)))
    world.sleep(1)
    assert got == [1.0]


def test_connections_close_with_their_client_or_process(world: World, run: Run) -> None:
    async def closes() -> None:
        async with redis.asyncio.Redis() as client:
            await client.ping()

    async def waits() -> None:
        await redis.asyncio.Redis().blpop("queue")

    world.process("w1", lambda: run(closes()))
    victim = world.process("w2", lambda: run(waits()))
    world.sleep(1)
    world.kill(victim)
    assert [event.process for event in world.seen(Connected)] == ["w1", "w2"]
    assert [event.reason for event in world.seen(Disconnected)] == ["closed", "process died"]


def test_a_refused_connection_is_an_error_of_the_client(world: World, run: Run) -> None:
    world.server.stop()
    got = []

    async def works() -> None:
        try:
            await redis.asyncio.Redis(retry=Retry(NoBackoff(), 0)).ping()
        except redis.ConnectionError as exc:
            got.append(str(exc))

    world.process("w1", lambda: run(works()))
    world.sleep(1)
    assert len(got) == 1
    assert "Connection refused" in got[0]


def test_an_asynchronous_pool_of_two_processes_is_one_in_each(world: World, run: Run) -> None:
    shared = redis.asyncio.ConnectionPool()

    async def works() -> None:
        client = redis.asyncio.Redis(connection_pool=shared)
        for _ in range(20):
            await client.incr("n")
            await asyncio.sleep(0.01)

    world.process("w1", lambda: run(works()))
    world.process("w2", lambda: run(works()))
    world.sleep(10)
    assert redis.Redis().get("n") == b"40"
    assert len(world.seen(Connected)) == 3
