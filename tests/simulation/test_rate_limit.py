"""Rate limits: a token is there at the instant at which it is due, whatever floats make of it."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tasksim import Simulation
from tests.scene import make_app, sleeper


@pytest.mark.parametrize(("limit", "interval"), [("40/m", 1.5), ("7/m", 60 / 7), ("3/s", 1 / 3)])
@pytest.mark.parametrize("offset", [0.001, 0.0066, 0.0129, 0.0181])
def test_limited_tasks_start_one_interval_apart(limit: str, interval: float, offset: float) -> None:
    app = make_app()
    slow = sleeper(app, rate_limit=limit)
    with Simulation(app, workers={"w1": {"prefetch_multiplier": 20}}) as sim:
        for _ in range(8):
            time.sleep(offset)
            slow.delay(0)
        sim.run()
        starts = [event.time for event in sim.trace if type(event).__name__ == "Started"]
    assert len(starts) == 8
    assert [two - one for one, two in pairwise(starts)] == pytest.approx([interval] * 7, abs=0.01)
