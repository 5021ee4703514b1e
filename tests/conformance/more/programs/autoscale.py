"""autoscale 3,1: the pool grows with the load and shrinks when it has been idle; who runs what and when."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=3, autoscale="3,1")
    for n in range(6):
        app.tasks["work"].apply_async((2,), task_id=f"t{n}")
    ctl.wait("success", count=6)
    ctl.sleep(1)
    app.tasks["work"].apply_async((0.5,), task_id="last")
    ctl.wait("success", id="last")
    ctl.sleep(0.5)
