"""The app is as before when a simulation ends, and what a simulation sets reaches all that follows from it."""

from __future__ import annotations

import pytest

from tasksim import Simulation
from tests.scene import REDIS, make_app, sleeper


def test_settings_and_connections_of_a_simulation_are_gone_with_it() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, broker=REDIS, settings={"timezone": "Asia/Tokyo"}) as sim:
        assert str(app.timezone) == "Asia/Tokyo"
        task.apply_async((0.0,), countdown=5)
        app.control.ping()
        sim.run()
    assert (str(app.timezone), app.conf.timezone, app._pool) == ("UTC", None, None)


def test_what_the_test_has_set_on_the_app_stays() -> None:
    app = make_app()
    with Simulation(app):
        app.of_the_tests_own = 17
    assert app.of_the_tests_own == 17


@pytest.mark.parametrize("name", ["sleeper", "*"])
def test_annotations_and_a_timezone_reach_an_app_that_has_worked_them_out_before(name: str) -> None:
    app = make_app()
    task = sleeper(app)
    assert str(app.timezone) == "UTC"
    assert task.rate_limit is None
    settings = {"task_annotations": {name: {"rate_limit": "1/m"}}, "timezone": "Asia/Tokyo"}
    with Simulation(app, settings=settings) as sim:
        assert str(app.timezone) == "Asia/Tokyo"
        for _ in range(3):
            task.delay(0.0)
        sim.run()
        assert [start // 50 for start in sim.trace.starts] == [0, 1, 2]  # before kombu 5.7 two seconds early
    assert (str(app.timezone), task.rate_limit) == ("UTC", None)
