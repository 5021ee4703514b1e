"""The connections are cut while an early-acknowledged task runs, two are prefetched and one waits for its eta."""
import time

import probe
from base import celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60))

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    results = {"running": work.apply_async((4,), task_id="running")}
    ctl.wait("start", id="running")
    for name in ("p1", "p2"):
        results[name] = work.apply_async((0.8,), task_id=name)
        ctl.sleep(0.2)
    results["eta"] = work.apply_async((0.8,), task_id="eta", countdown=9)
    ctl.wait("received", id="eta")
    ctl.sleep(0.7)
    ctl.drop_connections("w1")
    ctl.wait("end", id="p1")
    ctl.wait("end", id="p2")
    ctl.wait("end", id="eta")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
