"""asyncio in virtual time: in tasks and in the test."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import redis.asyncio

from tasksim import Simulation
from tests.scene import make_app


def run_in_a_task(main: Any, **options: Any) -> tuple[Any, float]:
    """What `asyncio.run(main())` gives in a task, and the virtual seconds that it took."""
    app = make_app()

    @app.task(shared=False, name="main")
    def task() -> list[Any]:
        before = time.monotonic()
        return [asyncio.run(main()), time.monotonic() - before]

    with Simulation(app, **options):
        found, seconds = task.delay().get()
        return found, seconds


async def nap() -> str:
    await asyncio.sleep(3600)
    return "awake"


async def gathered() -> list[float]:
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return round(loop.time() - began, 3)

    return list(await asyncio.gather(one(3), one(1), one(2)))


async def timed_out() -> str:
    try:
        await asyncio.wait_for(asyncio.Event().wait(), timeout=90)
    except TimeoutError:
        return "timed out"
    return "came"


async def queued() -> list[int]:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(3):
            await asyncio.sleep(10)
            await queue.put(number)

    producer = asyncio.create_task(produce())
    found = [await queue.get() for _ in range(3)]
    await producer
    return found


@pytest.mark.parametrize(
    ("main", "found", "seconds"),
    [(nap, "awake", 3600), (gathered, [3, 1, 2], 3), (timed_out, "timed out", 90), (queued, [0, 1, 2], 30)],
)
def test_an_event_loop_in_a_task_runs_in_virtual_time(main: Any, found: Any, seconds: float) -> None:
    result, took = run_in_a_task(main)
    assert result == (pytest.approx(found, abs=0.01) if main is gathered else found)
    assert took == pytest.approx(seconds, abs=0.01)


def test_event_loops_of_two_tasks_run_side_by_side() -> None:
    app = make_app()

    @app.task(shared=False, name="nap")
    def task() -> str:
        return asyncio.run(nap())

    with Simulation(app, concurrency=2) as sim:
        results = [task.delay(), task.delay()]
        sim.run()
        assert [result.get() for result in results] == ["awake", "awake"]
        assert sim.now == pytest.approx(3600, abs=1)


def test_an_event_loop_of_the_test_drives_the_world() -> None:
    app = make_app()

    @app.task(shared=False, name="sleep")
    def sleep() -> None:
        time.sleep(30)

    with Simulation(app) as sim:
        result = sleep.delay()
        asyncio.run(asyncio.sleep(60))
        assert sim.now == 60
        assert result.ready()


def test_an_asynchronous_redis_client_in_a_task_meets_the_simulated_server() -> None:
    async def main() -> list[Any]:
        client = redis.asyncio.Redis(decode_responses=True)
        await client.set("key", "value", ex=60)
        first = await client.get("key")
        await asyncio.sleep(61)
        second = await client.get("key")
        await client.aclose()
        return [first, second]

    app = make_app(backend="redis://")

    @app.task(shared=False, name="main")
    def task() -> list[Any]:
        return asyncio.run(main())

    with Simulation(app):
        assert task.delay().get() == ["value", None]


def test_a_killed_event_loop_runs_no_finally() -> None:
    seen: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("finally")

    app = make_app()

    @app.task(shared=False, name="main")
    def task() -> None:
        asyncio.run(main())

    with Simulation(app) as sim:
        task.delay()
        sim.kill(worker="w1", at=5)
        sim.run()
        assert asyncio._get_running_loop() is None
    assert seen == []


def test_a_loop_from_before_is_virtual_inside_and_real_again_after() -> None:
    app = make_app()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        assert runner.run(asyncio.to_thread(threading.get_ident)) > 0
        selector, executor = loop._selector, loop._default_executor  # type: ignore[attr-defined]
        watched = dict(selector.get_map())
        with Simulation(app) as sim:
            assert runner.run(nap()) == "awake"
            assert 3600 <= sim.now < 3601
            assert runner.run(asyncio.to_thread(time.sleep, 400)) is None
            assert 4000 <= sim.now < 4001
        assert (loop._selector, loop._default_executor) == (selector, executor)  # type: ignore[attr-defined]
        assert dict(selector.get_map()) == watched
        before = time.monotonic()
        runner.run(asyncio.sleep(0.01))
        assert 0.005 < time.monotonic() - before < 60
        assert runner.run(asyncio.to_thread(threading.get_ident)) > 0


def test_a_simulation_may_be_opened_while_a_loop_runs() -> None:
    async def main() -> float:
        with Simulation(make_app()) as sim:
            await nap()
            now = sim.now
        await asyncio.sleep(0.001)
        return now

    assert 3600 <= asyncio.run(main()) < 3601


def test_a_loop_from_before_may_be_closed_inside() -> None:
    loop = asyncio.new_event_loop()
    with Simulation(make_app()):
        assert loop.run_until_complete(nap()) == "awake"
        loop.close()
    assert loop.is_closed()
