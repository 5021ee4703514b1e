"""SIGTERM, then SIGKILL during the warm shutdown: a deploy with a grace period that is too short."""
import time

import probe
from base import at, celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(8), task_track_started=True)

    def body(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    app.task(body, name="early")
    app.task(body, name="late", acks_late=True)
    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2, prefetch_multiplier=2)
    early, late = app.tasks["early"], app.tasks["late"]
    results = {"early": early.apply_async((15,), task_id="early")}
    results["late"] = late.apply_async((5,), task_id="late")
    ctl.wait("start", id="early")
    ctl.wait("start", id="late")
    results["held"] = early.apply_async((0.5,), task_id="held")
    ctl.wait("received", id="held")
    ctl.sleep(0.5)
    ctl.term_worker("w1")
    ctl.sleep(2)
    ctl.kill_worker("w1")
    at(ctl, 4)
    ctl.start_worker("w2")
    ctl.wait("end", id="late", worker="w2")
    ctl.wait("end", id="held", worker="w2")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
