"""Around Celery: asyncio and FastAPI, results waited for inside tasks, an old and a new release at one time."""

from __future__ import annotations

import asyncio
import bdb
import contextlib
import io
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.result import allow_join_result

from tasksim import Limits, Simulation, UsageError
from tasksim.patching.clock import real_monotonic


def test_asyncio_inside_a_task_waits_in_virtual_time(app: Celery) -> None:
    @app.task(shared=False)
    def gather(count: int) -> list[int]:
        async def one(number: int) -> int:
            await asyncio.sleep(60 - number)
            return number

        async def all_of_them() -> list[int]:
            return list(await asyncio.gather(*(one(number) for number in range(count))))

        return asyncio.run(all_of_them())

    with Simulation(app) as sim:
        assert gather.delay(3).get() == [0, 1, 2]
        assert sim.now == pytest.approx(60, abs=0.6)


#: The event loop that a pool process keeps for all of its tasks, as many applications do.
loop: asyncio.AbstractEventLoop | None = None
made: list[asyncio.AbstractEventLoop] = []


def in_the_loop(app: Celery) -> Any:
    @app.task(shared=False)
    def nap() -> int:
        global loop
        if loop is None:
            loop = asyncio.new_event_loop()
            made.append(loop)
        return loop.run_until_complete(asyncio.sleep(5, 7))

    return nap


@pytest.fixture
def no_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys.modules[__name__], "loop", None)
    yield
    for one in made:  # those of all processes
        if not one.is_running():
            one.close()
    made.clear()


@pytest.mark.usefixtures("no_loop")
def test_a_process_keeps_an_event_loop_for_all_its_tasks(app: Celery) -> None:
    nap = in_the_loop(app)
    with Simulation(app, concurrency=2, cells=[f"{__name__}.loop"]) as sim:
        assert [one.get(timeout=60) for one in [nap.delay() for _ in range(4)]] == [7] * 4
        assert sim.now == pytest.approx(10, abs=0.6)


@pytest.mark.usefixtures("no_loop")
@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
def test_processes_that_share_an_event_loop_are_told_how_not_to(app: Celery) -> None:
    nap = in_the_loop(app)
    with Simulation(app, concurrency=2) as sim:
        results = [nap.delay() for _ in range(2)]
        sim.run()
        (failed,) = [one for one in results if one.failed()]
        assert re.search(r"is already running, in w1/\d, and w1/\d wants it too.*cells=", str(failed.result))


def test_a_global_that_cannot_be_copied_is_no_cell(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "loop", threading.Lock())
    with Simulation(app, cells=[f"{__name__}.loop"]) as sim, pytest.raises(UsageError, match="Set it to None"):
        sim.run()


def test_a_task_that_waits_for_a_result_is_told_so(app: Celery) -> None:
    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(shared=False)
    def outer(allowed: bool) -> int:
        if not allowed:
            return add.delay(1, 2).get()
        with allow_join_result():
            return add.delay(1, 2).get()

    with Simulation(app, concurrency=2):
        with pytest.raises(RuntimeError, match=r"Never call result.get\(\) within a task!"):
            outer.delay(False).get()
        assert outer.delay(True).get(timeout=10) == 3


class Debugger(bdb.Bdb):
    """Stops once, as long as a person thinks, and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped_in: list[str] = []

    def user_line(self, frame: Any) -> None:
        self.stopped_in.append(frame.f_code.co_name)
        until = real_monotonic() + 0.6
        while real_monotonic() < until:
            pass
        self.set_continue()


def test_a_breakpoint_in_a_task_may_take_its_time(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    debugger = Debugger()
    monkeypatch.setattr(sys, "breakpointhook", lambda: debugger.set_trace(sys._getframe(1)))

    @app.task(shared=False)
    def work(number: int) -> int:
        breakpoint()
        return number + 1

    before = sys.gettrace()
    try:
        with Simulation(app, limits=Limits(block=0.2)):
            assert work.delay(1).get(timeout=10) == 2
    finally:
        sys.settrace(before)
    assert debugger.stopped_in == ["work"]


#: A person with telnet, who comes a second after the invitation, looks at something, and lets the task go on.
VISITOR = """
import socket, sys, time
time.sleep(1)
while True:
    try:
        line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
with line, line.makefile("rw") as file:
    def until_prompt():
        text = ""
        while not text.endswith("(Pdb) "):
            text += file.read(1)
        return text
    until_prompt()
    file.write("p number + 40\\n")
    file.flush()
    print(until_prompt())
    file.write("c\\n")
    file.flush()
    file.read()
"""


def test_the_remote_debugger_waits_for_a_person(app: Celery) -> None:
    rdb = pytest.importorskip("celery.contrib.rdb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    @app.task(shared=False)
    def work(number: int) -> int:
        rdb.Rdb(port=port - 1, out=io.StringIO()).set_trace()  # the first pool process takes the next port
        return number + 1

    before = sys.gettrace()
    visitor = subprocess.Popen([sys.executable, "-c", VISITOR, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        with Simulation(app, limits=Limits(block=0.2), concurrency=1):
            assert work.delay(2).get(timeout=10) == 3
        assert "42" in visitor.communicate(timeout=20)[0]
    finally:
        sys.settrace(before)
        visitor.kill()
        visitor.wait()


def release(broker: str, version: int) -> Celery:
    """The application as it is in one release: the new one has one task more, and another result."""
    app = Celery("shop", broker=broker, backend="redis://", set_as_current=False)

    @app.task(name="shop.price", shared=False)
    def price() -> int:
        return 10 * version

    if version == 2:

        @app.task(name="shop.refund", shared=False)
        def refund() -> str:
            return "refunded"

    return app


def test_an_old_and_a_new_release_run_at_one_time(broker: str) -> None:
    new = release(broker, 2)
    with Simulation(new, workers=0) as sim:
        sim.start_worker("old", app=lambda: release(broker, 1), wait=True)
        assert new.send_task("shop.price").get(timeout=10) == 10
        lost = new.send_task("shop.refund")  # published by the new client, taken by the old worker
        sim.run()
        assert [one.task for one in sim.trace.where("TaskUnknown", task_id=lost)] == ["shop.refund"]
        sim.start_worker("new", wait=True)
        sim.stop(worker="old")
        sim.run()
        assert new.send_task("shop.refund").get(timeout=10) == "refunded"
        assert new.send_task("shop.price").get(timeout=10) == 20


def test_fastapi_publishes_and_tells_the_state(app: Celery) -> None:
    fastapi = pytest.importorskip("fastapi")

    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    api = fastapi.FastAPI()

    @api.post("/sums")
    async def start(x: int, y: int) -> dict[str, str]:
        return {"id": add.apply_async((x, y), countdown=30).id}

    @api.get("/sums/{task_id}")
    async def look(task_id: str) -> dict[str, Any]:
        result = app.AsyncResult(task_id)
        return {"state": result.state, "result": result.result if result.successful() else None}

    async def ask(method: str, url: str) -> Any:
        import httpx

        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.request(method, url)).json()

    with Simulation(app) as sim:
        task_id = asyncio.run(ask("POST", "/sums?x=1&y=2"))["id"]
        assert asyncio.run(ask("GET", f"/sums/{task_id}")) == {"state": "PENDING", "result": None}
        sim.run()
        assert asyncio.run(ask("GET", f"/sums/{task_id}")) == {"state": "SUCCESS", "result": 3}


def test_fastapis_test_client_runs_views_in_threads_of_its_own(app: Celery) -> None:
    fastapi = pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")

    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    lives = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        lives.append("up")
        await asyncio.sleep(5)
        yield
        lives.append("down")

    api = fastapi.FastAPI(lifespan=lifespan)

    @api.post("/started")
    def start(x: int, y: int) -> dict[str, str]:
        return {"id": add.delay(x, y).id}

    @api.post("/done")
    def wait(x: int, y: int) -> dict[str, int]:
        return {"sum": add.delay(x, y).get(timeout=10)}

    @api.post("/afterwards")
    async def afterwards(x: int) -> Any:
        tasks = fastapi.BackgroundTasks()
        tasks.add_task(add.delay, x, x)
        return fastapi.responses.JSONResponse({}, background=tasks)

    with Simulation(app) as sim, testclient.TestClient(api) as client:
        task_id = client.post("/started?x=1&y=2").json()["id"]
        sim.assert_published(app.AsyncResult(task_id), args=(1, 2))
        assert client.post("/done?x=3&y=4").json() == {"sum": 7}
        client.post("/afterwards?x=5")
        sim.assert_published(add, args=(5, 5), times=1)
        sim.run()
        assert app.AsyncResult(task_id).get() == 3
    assert lives == ["up", "down"]
