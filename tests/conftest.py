"""For all tests: pytester, and the plugin itself where tasksim is on the path but not installed."""

import gc
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest
from hypothesis import HealthCheck, settings

from tests import loggers

# No test is a timed one: a loaded machine must not fail it.
settings.register_profile("tasksim", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tasksim")

pytest_plugins = ["pytester"]
if "tasksim" not in entry_points(group="pytest11").names:
    pytest_plugins.append("tasksim.pytest_plugin")


@pytest.fixture(autouse=True)
def as_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest inside a test prints what it prints for a person; what it prints on a CI server is asked for."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def what_is_left_need_not_be_looked_through_again() -> Iterator[None]:
    """What a simulation's killed processes held stays for good: thousands of simulations would slow each collection."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def loggers_stay_as_they_were() -> Iterator[None]:
    """Celery's set-up of logging in the test's own process (drop-in, real workers) must not reach other tests."""
    with loggers.as_before():
        yield


@pytest.fixture(autouse=True)
def tasks_and_apps_stay_in_their_test() -> Iterator[None]:
    """A task that a test shares with every app (Celery's default) must not reach the apps of other tests.

    Nor is the app that a test made last the current one of the next test.
    """
    state = sys.modules.get("celery._state")
    if state is None:
        yield
        return
    before = set(state._on_app_finalizers)
    default, current = state.default_app, state._tls.current_app
    yield
    now = state._on_app_finalizers
    now.intersection_update(before | {one for one in now if one.__module__ == "celery.app.builtins"})
    state.default_app, state._tls.current_app = default, current
