"""Remote control of workers (userguide/workers: Remote control, Inspecting workers, Writing your own commands)."""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.utils.debug import humanbytes
from celery.worker.control import Panel, control_command, inspect_command

from tasksim import Simulation


@pytest.fixture
def app(app: Celery) -> Celery:
    @app.task(name="tasks.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="tasks.sleep", shared=False, rate_limit="100/m")
    def sleep(seconds: float) -> None:
        time.sleep(seconds)

    return app


@pytest.fixture(autouse=True)
def commands_stay_in_their_test() -> Iterator[None]:
    before = dict(Panel.data), dict(Panel.meta)
    yield
    for now, kept in zip((Panel.data, Panel.meta), before, strict=True):
        now.clear()
        now.update(kept)


OK_1, OK_2 = {"w1@sim": {"ok": "pong"}}, {"w2@sim": {"ok": "pong"}}


class TestReplies:
    """`broadcast` and `ping`: who answers, and how long the caller waits."""

    def test_ping_waits_a_second_for_whoever_answers(self, app: Celery) -> None:
        with Simulation(app, workers=2) as sim:
            assert app.control.ping() == [OK_1, OK_2]
            assert sim.now == pytest.approx(1)
            assert app.control.ping(timeout=0.5) == [OK_1, OK_2]
            assert sim.now == pytest.approx(1.5)

    def test_with_destinations_the_caller_waits_until_they_have_answered(self, app: Celery) -> None:
        with Simulation(app, workers=2) as sim:
            assert app.control.ping(["w2@sim"]) == [OK_2]
            assert app.control.inspect(["w1@sim"]).ping() == OK_1
            assert sim.now < 0.1

    def test_who_is_dead_or_frozen_does_not_answer_in_time(self, app: Celery) -> None:
        with Simulation(app, workers=2) as sim:
            sim.freeze(worker="w1")
            assert app.control.ping(timeout=2) == [OK_2]
            assert app.control.ping(["w1@sim"], timeout=3) == []
            assert sim.now == pytest.approx(5)
            sim.kill(worker="w2")
            assert app.control.inspect().ping() is None

    def test_one_of_solo_answers_when_its_task_has_ended(self, app: Celery) -> None:
        with Simulation(app, workers={"w1": {"pool": "solo"}}) as sim:
            app.tasks["tasks.sleep"].delay(5)
            sim.advance(1)
            assert app.control.ping(timeout=1) == []
            assert app.control.ping(timeout=5) == [OK_1]

    def test_broadcast_with_reply_limit_and_callback(self, app: Celery) -> None:
        heard: list[Any] = []
        with Simulation(app, workers=3) as sim:
            assert app.control.broadcast("ping") is None
            assert len(app.control.broadcast("ping", reply=True)) == 3
            before = sim.now
            assert len(app.control.broadcast("ping", reply=True, limit=2)) >= 2  # more if they come in one piece
            assert sim.now - before < 0.1
            app.control.broadcast("ping", reply=True, callback=heard.append)
        assert sorted(next(iter(one)) for one in heard) == ["w1@sim", "w2@sim", "w3@sim"]

    @pytest.mark.parametrize(("pattern", "matcher"), [("shop-*", "glob"), (r"shop-\d@.*", "pcre")])
    def test_destinations_by_pattern(self, app: Celery, pattern: str, matcher: str) -> None:
        with Simulation(app, workers=["shop-1", "shop-2", "mail-1"]):
            replies = app.control.broadcast("ping", pattern=pattern, matcher=matcher, reply=True)
        assert [next(iter(one)) for one in replies] == ["shop-1@sim", "shop-2@sim"]

    def test_a_command_that_nobody_knows_is_answered_with_an_error(self, app: Celery) -> None:
        with Simulation(app, workers=1):
            [reply] = app.control.broadcast("fly", reply=True)
        assert list(reply) == ["w1@sim"]
        assert "KeyError('fly')" in reply["w1@sim"]["error"]


def of_this_app(registered: dict[str, list[str]]) -> list[str]:
    """What w1 tells of the tasks made here; tasks shared by modules that other tests import are every app's."""
    return [one for one in registered["w1@sim"] if one.startswith("tasks.")]


class TestInspect:
    """`app.control.inspect()` in full."""

    def test_what_a_worker_does_and_has_before_it(self, app: Celery) -> None:
        with Simulation(app, workers=1, concurrency=1) as sim:
            for name in ("first", "second"):
                app.tasks["tasks.sleep"].apply_async((60,), task_id=name)
            app.tasks["tasks.add"].apply_async((2, 2), countdown=30, task_id="later")
            sim.advance(1)
            i = app.control.inspect()
            [active] = i.active()["w1@sim"]
            assert (active["id"], active["name"], active["args"], active["hostname"]) == (
                "first", "tasks.sleep", [60], "w1@sim",
            )  # fmt: skip
            assert active["time_start"] == pytest.approx(time.time() - 2, abs=0.1)
            assert active["worker_pid"] == sim.workers["w1"].pid + 1
            [scheduled] = i.scheduled()["w1@sim"]
            assert (scheduled["request"]["id"], scheduled["eta"]) == ("later", "2026-01-01T12:00:30+00:00")
            assert "second" in [one["id"] for one in i.reserved()["w1@sim"]]

    def test_query_task(self, app: Celery) -> None:
        with Simulation(app, workers=1, concurrency=1) as sim:
            for name in ("first", "second"):
                app.tasks["tasks.sleep"].apply_async((60,), task_id=name)
            sim.advance(1)
            found = app.control.inspect().query_task("first", "second", "third")["w1@sim"]
            assert {name: state for name, (state, _) in found.items()} == {"first": "active", "second": "reserved"}

    def test_revoked(self, app: Celery) -> None:
        with Simulation(app, workers=2) as sim:
            app.control.revoke("t-1")
            sim.advance(0.1)
            assert app.control.inspect().revoked() == {"w1@sim": ["t-1"], "w2@sim": ["t-1"]}

    def test_registered_with_attributes(self, app: Celery) -> None:
        with Simulation(app, workers=1):
            i = app.control.inspect()
            assert of_this_app(i.registered()) == ["tasks.add", "tasks.sleep [rate_limit=100/m]"]
            assert of_this_app(i.registered("max_retries")) == [
                "tasks.add [max_retries=3]", "tasks.sleep [max_retries=3]",
            ]  # fmt: skip

    def test_stats(self, app: Celery, broker: str) -> None:
        with Simulation(app, workers=1, concurrency=3) as sim:
            for _ in range(4):
                app.tasks["tasks.add"].delay(1, 2)
            sim.advance(10)
            stats = app.control.inspect().stats()["w1@sim"]
            assert stats["broker"]["transport"] == broker.partition(":")[0]
            assert (stats["pool"]["max-concurrency"], len(stats["pool"]["processes"])) == (3, 3)
            assert stats["pid"] == sim.workers["w1"].pid
            assert stats["total"] == {"tasks.add": 4}
            assert stats["prefetch_count"] == 12
            assert stats["uptime"] in (11, 12)

    def test_conf(self, app: Celery) -> None:
        app.conf.update(task_acks_late=True, api_key="1234")
        with Simulation(app, workers={"w1": {}, "w2": {"conf": {"task_acks_late": False}}}):
            conf = app.control.inspect().conf()
        assert {name: one["task_acks_late"] for name, one in conf.items()} == {"w1@sim": True, "w2@sim": False}
        assert conf["w1@sim"].get("api_key") != "1234"

    def test_queues_clock_and_report(self, app: Celery) -> None:
        with Simulation(app, workers={"w1": {"queues": "a,b"}}):
            i = app.control.inspect()
            assert [one["name"] for one in i.active_queues()["w1@sim"]] == ["a", "b"]
            assert i.clock()["w1@sim"]["clock"] > 0
            assert "celery:" in i.report()["w1@sim"]["ok"]

    def test_hello_tells_who_is_there(self, app: Celery) -> None:
        with Simulation(app, workers=1):
            assert app.control.inspect().hello("w9@sim")["w1@sim"]["clock"] > 0


class TestControl:
    """`app.control` in full."""

    def test_rate_limit(self, app: Celery) -> None:
        with Simulation(app, workers=2, concurrency=1) as sim:
            replies = app.control.rate_limit("tasks.add", "6/m", reply=True)
            assert replies == [{one: {"ok": "new rate limit set successfully"}} for one in ("w1@sim", "w2@sim")]
            sim.kill(worker="w2")
            result = [app.tasks["tasks.add"].delay(1, 2) for _ in range(3)][-1]
            result.get()
            starts = [one.started for one in sim.trace.attempts]
            assert [b - a for a, b in itertools.pairwise(starts)] == pytest.approx([10, 10], abs=1.01)

    def test_time_limit(self, app: Celery) -> None:
        with Simulation(app, workers=1) as sim:
            [reply] = app.control.time_limit("tasks.sleep", soft=60, hard=120, reply=True)
            assert reply == {"w1@sim": {"ok": "time limits set successfully"}}
            [reply] = app.control.time_limit("tasks.unknown", soft=60, reply=True)
            assert "error" in reply["w1@sim"]
            sim.run()

    def test_the_pool_grows_and_shrinks(self, app: Celery) -> None:
        with Simulation(app, workers=1, concurrency=2) as sim:
            app.control.pool_grow(2, reply=True)
            sim.advance(6)  # the pool looks after its processes every five seconds
            assert len(sim.workers["w1"].children) == 4
            app.control.pool_shrink(3, reply=True)
            sim.advance(5)
            assert len(sim.workers["w1"].children) == 1
            assert app.tasks["tasks.add"].delay(1, 2).get(timeout=5) == 3

    def test_the_pool_restarts_where_it_may(self, app: Celery) -> None:
        with Simulation(app, workers={"w1": {"conf": {"worker_pool_restarts": True}}, "w2": {}}, concurrency=1) as sim:
            before = sim.workers["w1"].children
            replies = {name: reply for one in app.control.pool_restart(reply=True) for name, reply in one.items()}
            assert replies["w1@sim"] == {"ok": "reload started"}
            assert "Pool restarts not enabled" in replies["w2@sim"]["error"]
            sim.advance(10)
            assert len(sim.workers["w1"].children) == 1
            assert sim.workers["w1"].children != before
            sim.kill(worker="w2")
            assert app.tasks["tasks.add"].delay(1, 2).get(timeout=5) == 3

    def test_autoscale(self, app: Celery) -> None:
        with Simulation(app, workers={"w1": {"autoscale": "4,2"}}) as sim:
            [reply] = app.control.autoscale(6, 3, reply=True)
            assert reply == {"w1@sim": {"ok": "autoscale now max=6 min=3"}}
            sim.advance(6)
            assert len(sim.workers["w1"].children) == 3

    def test_shutdown_of_one(self, app: Celery) -> None:
        with Simulation(app, workers=2) as sim:
            app.control.shutdown(destination=["w1@sim"])
            sim.advance(5)
            assert [one.state for one in sim.workers.values()] == ["down", "up"]

    def test_events_are_switched_on_and_off(self, app: Celery) -> None:
        with Simulation(app, workers=1):
            assert app.control.enable_events(reply=True) == [{"w1@sim": {"ok": "task events enabled"}}]
            assert app.control.enable_events(reply=True) == [{"w1@sim": {"ok": "task events already enabled"}}]
            assert app.control.disable_events(reply=True) == [{"w1@sim": {"ok": "task events disabled"}}]
            app.control.heartbeat()

    def test_consumers_come_and_go(self, app: Celery) -> None:
        with Simulation(app, workers=2) as sim:
            app.control.add_consumer("foo", destination=["w1@sim"], reply=True)
            queues = app.control.inspect().active_queues()
            assert {name: [one["name"] for one in found] for name, found in queues.items()} == {
                "w1@sim": ["celery", "foo"], "w2@sim": ["celery"],
            }  # fmt: skip
            result = app.tasks["tasks.add"].apply_async((1, 2), queue="foo")
            assert result.get(timeout=5) == 3
            assert [one.worker for one in sim.trace.of(result).attempts] == ["w1"]
            app.control.cancel_consumer("foo", reply=True)
            assert len(app.control.inspect().active_queues()["w1@sim"]) == 1

    def test_purge(self, app: Celery) -> None:
        with Simulation(app, workers=0):
            for number in range(3):
                app.tasks["tasks.add"].delay(number, 1)
            assert app.control.purge() == 3

    def test_election(self, app: Celery) -> None:
        with Simulation(app, workers=3) as sim:
            sim.advance(5)  # until they know each other
            app.control.election("e-1", "task", app.tasks["tasks.add"].s(1, 2).set(task_id="winner"))
            sim.advance(5)
            assert len(sim.trace.of("winner").starts) == 1


class TestOwnCommands:
    """The guide's "Writing your own remote control commands"."""

    def test_a_control_command_and_an_inspect_command(self, app: Celery) -> None:
        @control_command(args=[("n", int)], signature="[N=1]")
        def increase_prefetch_count(state: Any, n: int = 1) -> Any:
            state.consumer.qos.increment_eventually(n)
            return {"ok": "prefetch count incremented"}

        @inspect_command()
        def current_prefetch_count(state: Any) -> Any:
            return {"prefetch_count": state.consumer.qos.value}

        with Simulation(app, workers=1, concurrency=1) as sim:
            [reply] = app.control.broadcast("increase_prefetch_count", {"n": 3}, reply=True)
            assert reply == {"w1@sim": {"ok": "prefetch count incremented"}}
            sim.advance(1)
            found = app.control.inspect()._request("current_prefetch_count")
            assert found == {"w1@sim": {"prefetch_count": 7}}

    def test_they_are_commands_of_the_command_line(self, app: Celery, capsys: pytest.CaptureFixture[str]) -> None:
        @inspect_command()
        def current_prefetch_count(state: Any) -> Any:
            return {"prefetch_count": state.consumer.qos.value}

        with Simulation(app, workers=1, concurrency=1):
            app.start(argv=["inspect", "current_prefetch_count"])
        assert '"prefetch_count"' in capsys.readouterr().out


class TestDebugging:
    """`memsample`, `memdump` and `objgraph`."""

    def test_memory_is_sampled_and_dumped_as_it_is_declared(self, app: Celery) -> None:
        """Each worker has samples of its own, and a dump forgets them."""
        with Simulation(app, workers=2, memory=lambda process: 50_000 * int(process.name[1:])) as sim:
            one, size = app.control.inspect(["w1@sim"]), humanbytes(1024 * 50_000)
            assert one.memsample() == {"w1@sim": size}
            assert app.control.inspect().memsample() == {"w1@sim": size, "w2@sim": humanbytes(1024 * 100_000)}
            samples = f"- rss (sample):\n-    > {size},\n-    > {size},\n"
            assert one.memdump() == {"w1@sim": f"{samples}- rss (end): {size}.\n"}
            assert one.memdump() == {"w1@sim": f"- rss (end): {size}.\n"}
            assert "(sample)" in app.control.inspect(["w2@sim"]).memdump()["w2@sim"]
            sim.run()

    def test_without_psutil_they_say_so(self, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("celery.utils.debug.Process", None)
        with Simulation(app):
            assert app.control.inspect().memsample() == {"w1@sim": None}
            assert app.control.inspect().memdump() == {"w1@sim": "- rss: (psutil not installed).\n"}

    def test_a_graph_of_objects_is_written(self, app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """objgraph draws what lives in the interpreter; without graphviz it keeps the drawing's text."""
        pytest.importorskip("objgraph")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with Simulation(app):
            [reply] = app.control.inspect(timeout=60).objgraph("WorkController", n=1, max_depth=1).values()
        assert Path(reply["filename"]).parent == tmp_path

    def test_without_objgraph_it_says_so(self, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "objgraph", None)
        with Simulation(app):
            [reply] = app.control.inspect(timeout=60).objgraph("Request").values()
        assert "Requires the objgraph library" in reply["error"]
