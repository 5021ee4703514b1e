"""Canvas: designing work-flows (userguide/canvas)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Signature, Task, chain, chord, group, signature, xmap, xstarmap
from celery.canvas import StampingVisitor
from celery.contrib.abortable import AbortableAsyncResult, AbortableTask
from celery.exceptions import ChordError

from tasksim import Simulation


class Tasks:
    """The guide's `add`, `mul`, `xsum` and `tsum`."""

    def __init__(self, app: Celery) -> None:
        @app.task(name="add", shared=False)
        def add(x: int, y: int) -> int:
            return x + y

        @app.task(name="mul", shared=False)
        def mul(x: int, y: int) -> int:
            return x * y

        @app.task(name="xsum", shared=False)
        def xsum(numbers: list[int]) -> int:
            return sum(numbers)

        @app.task(name="fail", shared=False)
        def fail(*_: Any) -> None:
            raise ValueError("no")

        self.app, self.add, self.mul, self.xsum, self.fail = app, add, mul, xsum, fail


@pytest.fixture
def t(app: Celery) -> Tasks:
    return Tasks(app)


def test_signatures_partials_and_immutability(t: Tasks) -> None:
    add = t.add
    with Simulation(t.app) as sim:
        assert signature("add", args=(2, 2), countdown=1, app=t.app).delay().get() == 4
        assert sim.now == pytest.approx(1, abs=0.1)
        partial = add.s(2)
        assert (partial.delay(4).get(), partial.clone(args=(4,)).delay().get()) == (6, 6)
        assert add.s(2, 2).set(queue="celery").apply_async().get() == 4
        assert add.apply_async((2, 2), link=add.si(8, 16)).get() == 4
        sim.run()
        assert sorted(one.result for one in [sim.app.AsyncResult(a.task_id) for a in sim.trace.attempts])[-1] == 24
        assert add.signature((2, 2), immutable=True).delay().get() == 4
        assert dict(add.s(1, y=2))["kwargs"] == {"y": 2}


def test_chains(t: Tasks) -> None:
    add, mul = t.add, t.mul
    with Simulation(t.app) as sim:
        res = chain(add.s(2, 2), add.s(4), mul.s(8))()
        assert res.get() == 64
        assert (res.parent.get(), res.parent.parent.get()) == (8, 4)
        assert (add.s(2, 2) | add.si(4, 4) | mul.s(8))().get() == 64
        failing = (add.s(1, 1) | t.fail.s() | add.s(1))()
        sim.run()
        with pytest.raises(ValueError, match="no"):
            failing.get()
        assert len(sim.trace.of("fail").attempts) == 1


def test_groups(t: Tasks) -> None:
    with Simulation(t.app):
        res = group(t.add.s(i, i) for i in range(10)).apply_async()
        assert res.get() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
        assert (res.ready(), res.successful(), res.completed_count()) == (True, True, 10)
        assert group(t.add.s(2), t.mul.s(4))(3).get() == [5, 12]
        bad = group(t.add.s(1, 1), t.fail.s())()
        with pytest.raises(ValueError, match="no"):
            bad.get()
        assert (bad.failed(), bad[0].get()) == (True, 2)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # redis-py 8, in Celery's own code
def test_a_group_is_saved_and_restored(t: Tasks) -> None:
    from celery.result import GroupResult

    with Simulation(t.app):
        res = group(t.add.s(i, i) for i in range(3))()
        res.save()
        assert GroupResult.restore(res.id, app=t.app).get() == [0, 2, 4]


def test_chords(t: Tasks) -> None:
    with Simulation(t.app) as sim:
        assert chord((t.add.s(i, i) for i in range(100)), t.xsum.s())().get() == 9900
        assert (group(t.add.s(i, i) for i in range(4)) | t.xsum.s())().get() == 12
        assert len(sim.trace.of("xsum").attempts) == 2
        assert chord([t.add.s(1, 1)])(t.xsum.s()).get() == 2


@pytest.mark.parametrize("native", [True, False], ids=["native join", "chord_unlock"])
def test_both_kinds_of_join(broker: str, native: bool, tmp_path: Path) -> None:
    t = Tasks(Celery("proj", broker=broker, backend="redis://" if native else f"file://{tmp_path}"))
    with Simulation(t.app) as sim:
        assert chord([t.add.s(1, 1), t.add.s(2, 2)])(t.xsum.s()).get(timeout=60) == 6
        unlocks = len(sim.trace.of("celery.chord_unlock").attempts)
    assert (unlocks == 0) == native


def test_errors_in_a_chord(t: Tasks) -> None:
    heard: list[Any] = []

    @t.app.task(shared=False)
    def on_chord_error(request: Any, exc: Any, traceback: Any) -> None:
        heard.append((request.id, type(exc).__name__))

    with Simulation(t.app) as sim:
        body = t.xsum.s().on_error(on_chord_error.s())
        res = chord([t.add.s(4, 4), t.fail.s(), t.add.s(8, 8)])(body)
        sim.run()
        assert isinstance(res.result, ChordError)
        assert "ValueError" in str(res.result)
        assert not sim.trace.of("xsum").attempts
    assert (res.id, "ChordError") in heard


def test_map_starmap_and_chunks(t: Tasks) -> None:
    with Simulation(t.app) as sim:
        assert t.xsum.map([list(range(10)), list(range(100))]).delay().get() == [45, 4950]
        assert t.add.starmap(zip(range(10), range(10), strict=True)).delay().get() == [2 * n for n in range(10)]
        res = t.add.chunks(zip(range(100), range(100), strict=True), 10)()
        assert [one for part in res.get() for one in part] == [2 * n for n in range(100)]
        assert len(sim.trace.of("celery.starmap").attempts) == 11
        lot = t.add.chunks(zip(range(20), range(20), strict=True), 10).group()
        assert [len(one) for one in lot().get()] == [10, 10]
        assert isinstance(t.xsum.map([]), xmap)
        assert isinstance(t.add.starmap([]), xstarmap)


def test_all_of_them_nested(t: Tasks) -> None:
    add, xsum = t.add, t.xsum
    with Simulation(t.app, workers=2):
        flow = chain(
            add.s(1, 1),
            group(add.s(10), chain(add.s(20), add.s(1)), chord([add.s(1), add.s(2)], xsum.s())),
            xsum.s(),
            group(add.s(1), add.s(2)),
        )
        assert flow().get(timeout=60) == [43, 44]
        inner = chord([group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)], xsum.s())
        assert chord([chain(inner, add.s(1)), add.s(1, 0)], xsum.s())().get(timeout=60) == 14


def test_a_task_is_replaced_by_a_work_flow(t: Tasks) -> None:
    @t.app.task(bind=True, shared=False)
    def plan(self: Any, n: int) -> Any:
        return self.replace(chord([t.add.s(i, i) for i in range(n)], t.xsum.s()))

    with Simulation(t.app) as sim:
        assert (plan.s(4) | t.add.s(1))().get() == 13
        assert group(plan.s(2), t.add.s(1, 1))().get() == [2, 2]
        assert sim.trace.of(plan).attempts[0].state == "IGNORED"


def test_a_task_adds_to_its_chord(t: Tasks) -> None:
    @t.app.task(bind=True, shared=False)
    def discover(self: Any) -> int:
        self.add_to_chord(t.add.s(10, 10))
        return 1

    with Simulation(t.app):
        assert chord([discover.s(), t.add.s(1, 1)])(t.xsum.s()).get(timeout=60) == 23


def test_stamping(t: Tasks) -> None:
    class MonitoringIdStampingVisitor(StampingVisitor):
        def on_signature(self, sig: Signature, **headers: Any) -> dict[str, Any]:
            return {"monitoring_id": "m-1", "stamped_headers": ["monitoring_id"]}

    @t.app.task(bind=True, shared=False)
    def stamps(self: Any, *_: Any) -> Any:
        return self.request.stamps, self.request.stamped_headers

    with Simulation(t.app):
        flow = chain(t.add.s(1, 1), stamps.s())
        flow.stamp(MonitoringIdStampingVisitor())
        found, headers = flow().get()
        assert found == {"monitoring_id": "m-1"}
        assert "monitoring_id" in headers
        plain = stamps.s()
        plain.stamp(customer="shop-7")
        assert plain.apply_async().get()[0] == {"customer": "shop-7"}


def test_link_and_link_error_on_a_work_flow(t: Tasks) -> None:
    heard: list[Any] = []

    @t.app.task(shared=False)
    def done(value: Any) -> None:
        heard.append(value)

    @t.app.task(shared=False)
    def failed(request: Any, exc: Any, traceback: Any) -> None:
        heard.append(str(exc))

    with Simulation(t.app) as sim:
        flow = chain(t.add.s(1, 1), t.add.s(2))
        flow.link(done.s())
        flow.apply_async()
        sim.run()
        bad = chain(t.fail.s(), t.add.s(2))
        bad.link_error(failed.s())
        bad.apply_async()
        sim.run()
    assert heard == [4, "no"]


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # redis-py 8, in Celery's own code
def test_a_long_task_is_aborted(t: Tasks) -> None:
    @t.app.task(bind=True, base=AbortableTask, shared=False)
    def long_running(self: Any) -> int:
        for step in range(100):
            if self.is_aborted():
                return step
            time.sleep(1)
        return -1

    with Simulation(t.app) as sim:
        result = long_running.delay()
        sim.advance(9.5)
        AbortableAsyncResult(result.id, backend=t.app.backend).abort()
        sim.run()
        assert sim.now == pytest.approx(10, abs=0.2)


def test_a_signature_travels_as_data(t: Tasks) -> None:
    @t.app.task(shared=False)
    def call_later(data: Any) -> Any:
        return signature(data, app=t.app).apply_async().id

    with Simulation(t.app) as sim:
        inner = call_later.delay(dict(t.add.s(20, 3))).get()
        sim.run()
        assert t.app.AsyncResult(inner).get() == 23
        assert isinstance(t.add, Task)
