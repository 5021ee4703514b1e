"""Shares with acks_late and multiplier 4, two workers there from the start, tasks of 3 and 0.8 s."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_acks_late=True)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2, prefetch_multiplier=4)
    ctl.start_worker("w2", concurrency=2, prefetch_multiplier=4)
    for n in range(16):
        app.tasks["work"].apply_async((3 if n == 0 else 0.8,), task_id=f"t{n}")
        ctl.sleep(0.05)
    ctl.wait("success", count=16)
    ctl.sleep(0.5)
