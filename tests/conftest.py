"""For all tests: pytester, and the plugin itself where tasksim is on the path but not installed."""

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest
from hypothesis import HealthCheck, settings

# No test is a timed one: a loaded machine must not fail it.
settings.register_profile("tasksim", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tasksim")

pytest_plugins = ["pytester"]
if "tasksim" not in entry_points(group="pytest11").names:
    pytest_plugins.append("tasksim.pytest_plugin")


@pytest.fixture(autouse=True)
def tasks_stay_in_their_test() -> Iterator[None]:
    """A task that a test shares with every app (Celery's default) must not reach the apps of other tests."""
    state = sys.modules.get("celery._state")
    before = set(state._on_app_finalizers) if state is not None else None
    yield
    if state is not None and before is not None:
        now = state._on_app_finalizers
        now.intersection_update(before | {one for one in now if one.__module__ == "celery.app.builtins"})
