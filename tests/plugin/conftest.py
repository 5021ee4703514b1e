"""Runs of pytest inside a test: each in a folder of its own, with nothing but tasksim's plugin."""

from pathlib import Path

import pytest
import shop
from shop.tasks import reserve_stock

import tasksim.report.text  # noqa: F401 (see below)
from tasksim.simulation import Simulation

ROOT = Path(__file__).parents[2]

APP = """
from celery import Celery

app = Celery("own", broker="amqp://", backend="redis://")

@app.task(shared=False)
def add(a, b):
    return a + b
"""


@pytest.fixture(scope="session", autouse=True)
def everything_imported():
    """A run of pytest inside this process forgets what it was the first to import, so nothing may be left to it."""
    with Simulation(shop.celery_app):
        assert reserve_stock.delay("cup").get() == 9
    shop.reset()


@pytest.fixture
def run(pytester, monkeypatch):
    """A function that runs pytest with these arguments; `subprocess=True` in a process of its own."""
    monkeypatch.delenv("TASKSIM_SEED", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(own=APP)

    def run(*arguments, subprocess=False):
        if subprocess:
            return pytester.runpytest_subprocess("-p", "tasksim.pytest_plugin", *arguments, timeout=300)
        return pytester.runpytest_inprocess("-p", "tasksim.pytest_plugin", *arguments)

    return run
