"""Logging in tasks and workers (userguide/tasks: Logging; userguide/signals: Logging), beside pytest's own."""

from __future__ import annotations

import logging
import logging.config
import warnings
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.log import TaskFormatter
from celery.utils.log import get_task_logger

from tasksim import Simulation

logger = get_task_logger(__name__)


@pytest.fixture(autouse=True)
def levels_as_in_a_fresh_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests run Celery's own set-up in this process, which lasts."""
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    monkeypatch.setattr(logging.getLogger("celery.task"), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger("celery.task"), "handlers", [])
    logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]


def add_to(app: Celery) -> Any:
    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        logger.info("Adding %s + %s", x, y)
        return x + y

    return add


def test_a_task_logger_reaches_caplog_with_the_tasks_name_and_id(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    add = add_to(app)
    with caplog.at_level(logging.INFO), Simulation(app) as sim:
        result = add.delay(1, 2)
        sim.run()
    records: list[Any] = [one for one in caplog.records if one.name == __name__]
    assert [(one.message, one.task_id, one.task_name) for one in records] == [("Adding 1 + 2", result.id, add.name)]


def test_outside_of_a_task_there_is_no_task_id(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    with Simulation(app) as sim:
        sim.run()
        logger.warning("hello")
    record = next(one for one in caplog.records if one.name == __name__)
    assert not hasattr(record, "task_id")


def test_after_setup_logger_adds_a_handler_that_hears_its_own_worker(app: Celery, tmp_path: Path) -> None:
    add = add_to(app)

    @signals.after_setup_task_logger.connect
    def augment(logger: logging.Logger, **_: Any) -> None:
        handler = logging.FileHandler(tmp_path / f"{sim.current_process.name}.log")
        handler.setFormatter(TaskFormatter("%(task_name)s: %(message)s", use_color=False))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

    before = list(logging.getLogger("celery.task").handlers), logging.getLogger("celery.task").level
    with Simulation(app, workers=2, concurrency=1) as sim:
        for number in range(4):
            add.delay(number, 1)
        sim.run()
    found = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir()}
    assert {name: len(lines) for name, lines in found.items()} == {"w1.log": 2, "w2.log": 2}
    assert found["w1.log"][0].startswith(f"{add.name}: Adding ")
    assert (list(logging.getLogger("celery.task").handlers), logging.getLogger("celery.task").level) == before


def test_a_set_up_of_ones_own_does_not_take_the_tests_handlers(
    app: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add = add_to(app)

    @signals.setup_logging.connect
    def config(**_: Any) -> None:
        logging.config.dictConfig({
            "version": 1,
            "disable_existing_loggers": True,
            "formatters": {"brief": {"format": "%(levelname)s %(message)s"}},
            "handlers": {"file": {
                "class": "logging.FileHandler", "filename": str(tmp_path / "worker.log"), "formatter": "brief",
            }},
            "root": {"handlers": ["file"], "level": "INFO"},
        })  # fmt: skip

    root = logging.getLogger()
    before = list(root.handlers), root.level
    with Simulation(app) as sim:
        add.delay(1, 2)
        sim.run()
        logger.warning("said by the test")
    assert (list(root.handlers), root.level) == before
    assert {"Adding 1 + 2", "said by the test"} <= {one.message for one in caplog.records}
    lines = (tmp_path / "worker.log").read_text().splitlines()
    assert "INFO Adding 1 + 2" in lines
    assert not any("said by the test" in line for line in lines)
    assert not logger.disabled


def test_a_log_file(app: Celery, tmp_path: Path) -> None:
    add = add_to(app)
    with Simulation(app, workers=0) as sim:
        for name in ("w1", "w2"):
            sim.start_worker(name, logfile=str(tmp_path / "%n.log"), loglevel="INFO", wait=True)
        result = add.delay(1, 2)
        sim.run()
        sim.stop(worker="w2")
        sim.run()
    text = (tmp_path / "w1.log").read_text()
    assert f"Task {add.name}[{result.id}] received" in text
    assert f"{add.name}[{result.id}]: Adding 1 + 2" in text
    assert text.count("Adding 1 + 2") == 1
    assert "w1@sim ready." in text
    assert "w2@sim ready." not in text


def test_an_error_in_a_set_up_is_told_and_leaves_logging_whole(app: Celery) -> None:
    @signals.setup_logging.connect
    def config(**_: Any) -> None:
        logging.getLogger().handlers = []
        raise LookupError("no such formatter")

    before = list(logging.getLogger().handlers)
    with Simulation(app) as sim, pytest.raises(Exception, match="no such formatter"):
        sim.run()
    assert logging.getLogger().handlers == before


def test_a_workers_warnings_are_logged_and_the_tests_own_reach_the_test(
    app: Celery, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    @app.task(shared=False)
    def work() -> None:
        warnings.warn("from a task", UserWarning, stacklevel=1)

    for _ in range(2):
        with Simulation(app) as sim:
            work.delay()
            sim.run()
            warnings.warn("from the test", UserWarning, stacklevel=1)
    warnings.warn("after it", UserWarning, stacklevel=1)
    assert [str(one.message) for one in recwarn] == ["from the test", "from the test", "after it"]
    assert sum("from a task" in one.getMessage() for one in caplog.records) == 2
