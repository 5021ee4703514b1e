"""Tasks that wait in `get()` for tasks which only their own pool could run: named, and never where it is not so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, bootsteps, chain, chord, group
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import allow_join_result
from hypothesis import given, settings
from hypothesis import strategies as st

from tasksim import PoolDeadlock, Simulation, Stuck
from tasksim.patching.clock import real_monotonic
from tests.scene import BROKERS

STORES = ("redis://", "rpc://", "cache+memory://", "db+sqlite:///{folder}/results.sqlite", "file://{folder}")


def make_app(broker: str, backend: str = "redis://", **options: Any) -> Celery:
    """`outer` waits for `inner`; `nested` waits for itself, one level less."""
    app = Celery("proj", broker=broker, backend=backend, set_as_current=False)

    @app.task(name="inner", shared=False)
    def inner(seconds: float = 0) -> int:
        time.sleep(seconds)
        return 1

    @app.task(name="outer", shared=False, **options)
    def outer(timeout: float | None = None, queue: str | None = None) -> int:
        with allow_join_result():
            return inner.apply_async(queue=queue).get(timeout=timeout)

    @app.task(name="nested", shared=False)
    def nested(depth: int) -> int:
        if not depth:
            return 1
        with allow_join_result():
            return nested.delay(depth - 1).get()

    return app


def results_in(folder: Path, store: str) -> str:
    return store.format(folder=folder)


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.partition(":")[0])
@pytest.mark.parametrize("wait", ["run", "get"])
def test_a_pool_that_waits_for_itself_is_named_within_a_second(
    broker: str, store: str, wait: str, tmp_path: Path
) -> None:
    app = make_app(broker, results_in(tmp_path, store))
    outer = app.tasks["outer"]
    with Simulation(app, concurrency=2) as sim:
        results = [outer.apply_async(task_id="one"), outer.apply_async(task_id="two")]
        sim.run(until=sim.started("outer", nth=2))
        began = real_monotonic()
        with pytest.raises(PoolDeadlock) as error:
            sim.run() if wait == "run" else results[1].get()
        assert real_monotonic() - began < 1
        assert sim.now < 5
    lines = str(error.value).splitlines()
    assert {line.partition(" waits in get() for ")[0] for line in lines[1:3]} in (
        {"  outer[one] in w1/1", "  outer[two] in w1/2"},
        {"  outer[one] in w1/2", "  outer[two] in w1/1"},
    )
    assert all(" waits in get() for inner[" in line and "which worker w1 holds" in line for line in lines[1:3])
    assert lines[3] == "  worker w1 runs 2 tasks at a time, and all of them wait"
    assert "Remedies: do not wait inside a task" in lines[4]


def test_a_message_that_no_worker_has_taken_is_told_to_lie_in_its_queue(broker: str) -> None:
    app = make_app(broker)
    app.conf.worker_prefetch_multiplier = 1
    with Simulation(app, workers={"w1": {"concurrency": 1}}, settings={"task_acks_late": True}) as sim:
        app.tasks["outer"].delay()
        with pytest.raises(PoolDeadlock, match="which lies in queue celery, consumed by w1"):
            sim.run()


def never(app: Celery, sim: Simulation) -> None:
    """What the deadlock would be without more ado."""
    app.tasks["outer"].delay()


def by_time_out(app: Celery, sim: Simulation) -> None:
    app.tasks["outer"].delay(timeout=5)


def by_a_second_worker(app: Celery, sim: Simulation) -> None:
    sim.start_worker("w2", at=30, queues=["other"])
    app.tasks["outer"].delay(queue="other")


def by_a_second_worker_of_the_same_queue(app: Celery, sim: Simulation) -> None:
    sim.start_worker("w2", concurrency=1, wait=True)
    app.tasks["outer"].delay()


def by_a_planned_call(app: Celery, sim: Simulation) -> None:
    sim.at(100, lambda: app.control.pool_grow(1))
    app.tasks["outer"].delay()


def by_a_script(app: Celery, sim: Simulation) -> None:
    def grow() -> None:
        time.sleep(100)
        app.control.pool_grow(1)

    sim.run_in(grow)
    app.tasks["outer"].delay()


def by_a_thread(app: Celery, sim: Simulation) -> None:
    import threading

    threading.Timer(100, lambda: app.control.pool_grow(1)).start()
    app.tasks["outer"].delay()


@pytest.mark.parametrize(
    "way", [by_time_out, by_a_second_worker, by_a_second_worker_of_the_same_queue, by_a_planned_call, by_a_script,
            by_a_thread],
)  # fmt: skip
def test_what_will_be_dissolved_is_none(broker: str, way: Callable[[Celery, Simulation], None]) -> None:
    app = make_app(broker)
    with Simulation(app, concurrency=1) as sim:
        way(app, sim)
        sim.run()
        assert [one.state for one in sim.trace.of("inner").attempts] == ["SUCCESS"]
        assert len(sim.trace.where("Finished", task="outer")) == 1


@pytest.mark.parametrize("limits", [{"time_limit": 60}, {"soft_time_limit": 60}])
def test_a_time_limit_dissolves_it(broker: str, limits: dict[str, float]) -> None:
    app = make_app(broker, **limits)
    with Simulation(app, concurrency=1) as sim:
        result = app.tasks["outer"].delay()
        sim.run()
        assert result.failed()
        assert [one.state for one in sim.trace.of("inner").attempts] == ["SUCCESS"]


def test_autoscale_and_the_renewal_of_processes_dissolve_it(broker: str) -> None:
    app = make_app(broker)
    with Simulation(app, workers={"w1": {"autoscale": "3,1", "max_tasks_per_child": 1}}) as sim:
        results = [app.tasks["outer"].delay() for _ in range(2)]
        sim.run()
        assert [one.get() for one in results] == [1, 1]


def test_a_canvas_waits_nowhere_and_one_that_is_waited_for_is_seen_through(broker: str) -> None:
    app = make_app(broker)
    inner = app.tasks["inner"]

    @app.task(name="canvas", shared=False)
    def canvas(kind: str) -> Any:
        two = [inner.si(1), inner.si(2)]
        made = {"chain": chain(*two), "group": group(*two), "chord": chord(two, inner.si())}[kind]
        with allow_join_result():
            return made.delay().get()

    for kind, answer in (("chain", 1), ("group", [1, 1]), ("chord", 1)):
        with Simulation(app, concurrency=2) as sim:
            assert canvas.delay(kind).get() == answer
        with Simulation(app, concurrency=1) as sim:
            canvas.delay(kind)
            with pytest.raises(PoolDeadlock, match=r"canvas\[.*\] in w1/1 waits in get\(\) for inner\["):
                sim.run()


def test_workers_that_wait_for_each_other_are_named_together(broker: str) -> None:
    app = make_app(broker)

    @app.task(name="there", shared=False)
    def there() -> int:
        with allow_join_result():
            return back.apply_async(queue="b").get()

    @app.task(name="back", shared=False)
    def back() -> int:
        with allow_join_result():
            return app.tasks["inner"].apply_async(queue="a").get()

    workers = {name: {"queues": [name], "concurrency": 1} for name in ("a", "b")}
    with Simulation(app, workers=workers) as sim:
        there.apply_async(queue="a")
        with pytest.raises(PoolDeadlock) as error:
            sim.run()
    lines = str(error.value).splitlines()
    assert any(line.startswith("  there[") and line.endswith("], which waits itself") for line in lines)
    assert any(line.startswith("  back[") and "which worker a holds, taken from queue a" in line for line in lines)


def test_in_eager_mode_it_is_named_as_well(broker: str) -> None:
    app = make_app(broker)
    with Simulation(app, mode="eager", concurrency=1), pytest.raises(PoolDeadlock):
        app.tasks["outer"].delay()


def test_threads_and_solo_pools_are_seen_too(broker: str) -> None:
    for options in ({"pool": "threads", "concurrency": 2}, {"pool": "solo"}):
        app = make_app(broker)
        with Simulation(app, workers={"w1": options}) as sim:
            for _ in range(2):
                app.tasks["outer"].delay()
            with pytest.raises(PoolDeadlock, match=r"all of them wait|it waits"):
                sim.run()


def test_the_tests_own_time_out_and_limit_come_first_and_the_report_names_it(broker: str) -> None:
    app = make_app(broker)
    if broker.startswith("redis"):  # else the second worker would get what the first holds after an hour
        app.conf.broker_transport_options = {"visibility_timeout": 60}
    with Simulation(app, concurrency=1) as sim:
        result = app.tasks["outer"].delay()
        with pytest.raises(ResultTimeout):
            result.get(timeout=10)
        with pytest.raises(Stuck, match="the pool is deadlocked") as error:
            sim.run(limit=10)
        assert not isinstance(error.value, PoolDeadlock)
        assert any("the pool is deadlocked" in note for note in sim.facts().notes)
        sim.start_worker("w2")
        sim.run()
        assert result.get() == 1
        assert sim.facts().notes == []


def test_a_condition_of_the_tests_own_is_given_a_minute(broker: str) -> None:
    app = make_app(broker)
    with Simulation(app, concurrency=1) as sim:
        app.tasks["outer"].delay()
        sim.run(until=lambda: sim.now >= 30)
        with pytest.raises(PoolDeadlock):
            sim.run(until=sim.finished("outer"))
        assert sim.now < 120


def test_a_step_of_the_users_own_might_do_anything(broker: str) -> None:
    app = make_app(broker)

    class Grows(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Pool", "celery.worker.components:Timer"}

        def start(self, worker: Any) -> None:
            worker.timer.call_after(300, worker.pool.grow, (1,))

    app.steps["worker"].add(Grows)
    with Simulation(app, concurrency=1) as sim:
        assert app.tasks["outer"].delay().get() == 1
        assert sim.now > 290


@pytest.mark.parametrize("broker", BROKERS)
def test_results_that_nobody_waits_for_any_more_keep_no_run_alive(broker: str) -> None:
    app = make_app(broker, "rpc://")
    inner = app.tasks["inner"]

    @app.task(name="hasty", shared=False)
    def hasty() -> int:
        first, _ = inner.delay(), inner.apply_async(countdown=5)
        with allow_join_result():
            return first.get()

    with Simulation(app) as sim:
        hasty.delay()
        sim.run(limit=100)
        assert 5 <= sim.now < 20


# --- the law


@settings(max_examples=15)
@given(
    depths=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    processes=st.integers(1, 4),
    multiplier=st.integers(1, 4),
    broker=st.sampled_from(BROKERS),
    late=st.booleans(),
)
def test_what_is_named_stays_so_and_what_is_not_comes_to_its_end(
    depths: list[int], processes: int, multiplier: int, broker: str, late: bool
) -> None:
    """Named at once if and only if, left alone, nothing more begins; and then one process more lets something go on."""

    def begun(more: int, limit: float | None) -> tuple[int, bool]:
        app = make_app(broker, "cache+memory://")
        app.conf.update(worker_prefetch_multiplier=multiplier, task_acks_late=late)
        with Simulation(app, workers={"w1": {"concurrency": processes + more}}) as sim:
            for depth in depths:
                app.tasks["nested"].delay(depth)
            try:
                sim.run(limit=limit)
            except Stuck as error:
                named = "the pool is deadlocked" in str(error)
                return len(sim.trace.attempts), named
            return len(sim.trace.attempts), False

    count, named = begun(0, None)
    assert begun(0, 600) == (count, named)
    if named:
        assert begun(1, None)[0] > count
    else:
        assert count == sum(depth + 1 for depth in depths)
