"""Configuration: from an object, a module, a file called celeryconfig, the environment, and a namespace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tasksim import Simulation
from tasksim.errors import UsageError

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


def of_a_namespace() -> Celery:
    class Settings:
        CELERY_BROKER_URL = "amqp://rabbitmq//"
        CELERY_RESULT_BACKEND = "redis://redis/0"
        CELERY_TASK_DEFAULT_QUEUE = "mine"
        CELERY_TASK_ACKS_LATE = True

    app = Celery("site1", set_as_current=False)
    app.config_from_object(Settings, namespace="CELERY")

    @app.task(name="add", shared=False)
    def add() -> int:
        return 3

    return app


@pytest.mark.parametrize(
    "options", [{"broker": "redis://"}, {"settings": {"broker_url": "redis://"}},
                {"settings": {"CELERY_BROKER_URL": "redis://"}}],
    ids=["broker", "settings", "by the app's own name"],
)  # fmt: skip
def test_what_a_simulation_sets_goes_before_what_an_object_with_a_namespace_says(options: dict[str, Any]) -> None:
    app = of_a_namespace()
    with Simulation(app, **options) as sim:
        assert app.tasks["add"].delay().get() == 3
        assert {event.server for event in sim.trace.where("Connected")} == {"redis", "redis-2"}
        assert str(sim.rules) == "Redis 7.2"
    assert app.conf.broker_url == "amqp://rabbitmq//"


def test_other_settings_do_so_too_in_the_app_in_its_tasks_and_in_one_worker() -> None:
    app = of_a_namespace()
    settings = {"task_default_queue": "other", "task_acks_late": False}
    workers = {"w1": {"conf": {"worker_prefetch_multiplier": 1, "CELERY_TASK_ACKS_LATE": True}}}
    with Simulation(app, backend="rpc://", settings=settings, workers=workers) as sim:
        assert app.tasks["add"].delay().get() == 3
        assert (app.conf.task_acks_late, app.tasks["add"].acks_late, list(sim.queues)[:1]) == (False, False, ["other"])
        (end, acked) = sim.trace.where("Finished")[0], sim.trace.where("Acked")[0]
        assert list(sim.trace).index(end) < list(sim.trace).index(acked), "this worker acks late"
    assert (app.conf.task_acks_late, app.tasks["add"].acks_late, app.conf.task_default_queue) == (True, True, "mine")


def test_a_misspelt_setting_is_told_and_one_of_the_apps_own_is_not(app: Celery) -> None:
    with pytest.raises(UsageError, match="no setting 'task_ack_late'; did you mean 'task_acks_late'"):
        Simulation(app, settings={"task_ack_late": True}).open()
    with Simulation(app, settings={"shop_colour": "red"}):
        assert app.conf.shop_colour == "red"
