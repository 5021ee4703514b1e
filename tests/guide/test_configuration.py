"""Configuration: from an object, a module, a file called celeryconfig, the environment, and a namespace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tasksim import Simulation

CELERYCONFIG = """
broker_url = {broker!r}
result_backend = "redis://"
task_serializer = "json"
timezone = "Europe/Oslo"
enable_utc = True
task_routes = {{"tasks.add": "low-priority"}}
task_annotations = {{"tasks.add": {{"rate_limit": "10/m"}}}}
"""


def add_of(app: Celery) -> Any:
    @app.task(name="tasks.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    return add


def works_as_configured(app: Celery) -> None:
    """The route, and a start each six seconds."""
    add = add_of(app)
    with Simulation(app, workers={"w1": {"queues": "low-priority"}}) as sim:
        results = [add.delay(2, number) for number in range(3)]
        assert [result.get() for result in results] == [2, 3, 4]
        starts = sim.trace.of(add).starts
        assert [round(start - starts[0]) for start in starts] == [0, 6, 12]
        assert str(app.timezone) == "Europe/Oslo"


@pytest.mark.parametrize("name", ["celeryconfig", "proj_config_of_test"])
def test_a_module_is_named(broker: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{name}.py").write_text(CELERYCONFIG.format(broker=broker))
    monkeypatch.syspath_prepend(tmp_path)
    app = Celery()
    app.config_from_object(name)
    try:
        works_as_configured(app)
    finally:
        sys.modules.pop(name, None)


def test_the_environment_names_the_module(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config_by_environment.py").write_text(CELERYCONFIG.format(broker=broker))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "config_by_environment")
    app = Celery()
    app.config_from_envvar("CELERY_CONFIG_MODULE")
    try:
        works_as_configured(app)
    finally:
        sys.modules.pop("config_by_environment", None)


def test_a_configuration_class(broker: str) -> None:
    class Config:
        broker_url = broker
        result_backend = "redis://"
        timezone = "Europe/Oslo"
        task_routes = {"tasks.add": "low-priority"}
        task_annotations = {"tasks.add": {"rate_limit": "10/m"}}

    app = Celery()
    app.config_from_object(Config)
    works_as_configured(app)


def test_a_namespace_for_settings(broker: str) -> None:
    class Settings:
        DEBUG = True
        CELERY_BROKER_URL = broker
        CELERY_RESULT_BACKEND = "redis://"
        CELERY_TIMEZONE = "Europe/Oslo"
        CELERY_TASK_ROUTES = {"tasks.add": "low-priority"}
        CELERY_TASK_ANNOTATIONS = {"tasks.add": {"rate_limit": "10/m"}}

    app = Celery()
    app.config_from_object(Settings, namespace="CELERY")
    works_as_configured(app)
