"""Reject(requeue=True) while the message is not yet redelivered, and from a message that waited; many in one queue."""
import time

from celery.exceptions import Reject

import probe
from base import celery_app, watch_runs

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_acks_late=True)
    watch_runs()

    @app.task(name="work", bind=True)
    def work(self, seconds):
        probe.log("start")
        time.sleep(seconds)
        if not self.request.delivery_info["redelivered"]:
            raise Reject("again", requeue=True)

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    for n in range(4):
        app.tasks["work"].apply_async((0.7,), task_id=f"t{n}")
    ctl.wait("success", count=4)
    ctl.sleep(0.5)
