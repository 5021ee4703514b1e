"""Celery apps for tests of whole simulations: tasks that sleep, fail, retry, and say what they see."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery, Task

AMQP, REDIS = "amqp://", "redis://"
BROKERS = (AMQP, REDIS)


class Trouble(Exception):
    """What tasks of tests fail with."""


def make_app(broker: str = AMQP, backend: str = "cache+memory://", **settings: Any) -> Celery:
    """An app of its own, with no task."""
    app = Celery("scene", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, **settings)
    return app


def sleeper(app: Celery, **options: Any) -> Task:
    """A task that sleeps so many seconds and returns how many."""

    @app.task(name="sleeper", shared=False, **options)
    def sleep(seconds: float = 10.0) -> float:
        time.sleep(seconds)
        return seconds

    return sleep


def failing(app: Celery, failures: int, **options: Any) -> Task:
    """A task that fails so many times, and is retried as its options say, before it returns "done"."""

    @app.task(name="failing", shared=False, bind=True, autoretry_for=(Trouble,), **options)
    def fail(self: Any) -> str:
        if self.request.retries < failures:
            raise Trouble(self.request.retries)
        return "done"

    return fail
