"""Prefetch: who gets what, and how long it takes. 12 tasks of 10 s, two workers of two slots, multiplier 4."""

from __future__ import annotations

import pytest

from tasksim import Simulation
from tests.scene import make_app, sleeper

SEEDS = range(4)


def duration(seed: int, second_at: float | None, *, idle: bool) -> tuple[float, list[int]]:
    app = make_app(worker_prefetch_multiplier=4)
    task = sleeper(app)
    with Simulation(app, workers=0, concurrency=2, seed=seed) as sim:
        if idle:
            sim.start_worker("w1", wait=True)
            sim.start_worker("w2", wait=True)
        began = sim.now
        for _ in range(12):
            task.delay()
        if not idle:
            sim.start_worker("w1", at=began)
            sim.start_worker("w2", at=began + (second_at or 0))
        sim.run()
        ups = [event.time for event in sim.trace.where("WorkerUp")]
        first = sim.trace.starts[0]
        assert ups
        shares = [len({e.task_id for e in sim.trace.where("Started", worker=name)}) for name in ("w1", "w2")]
        return round(sim.now - first), sorted(shares)


@pytest.mark.parametrize("seed", SEEDS)
def test_queued_before_two_workers_start_at_one_instant_they_take_40_s(seed: int) -> None:
    assert duration(seed, 0.0, idle=False) == (40, [4, 8])


@pytest.mark.parametrize("seed", SEEDS)
def test_published_to_two_that_idle_they_take_30_s(seed: int) -> None:
    assert duration(seed, None, idle=True) == (30, [6, 6])


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_second_worker_half_a_second_late_they_take_50_s(seed: int) -> None:
    assert duration(seed, 0.5, idle=False) == (50, [2, 10])
