"""The connections are cut while the worker shuts down warm with an acks_late task and two held ones."""
import time

import probe
from base import at, celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(9), task_acks_late=True)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=3)
    work = app.tasks["work"]
    results = {"running": work.apply_async((5,), task_id="running")}
    ctl.wait("start", id="running")
    for name in ("h1", "h2"):
        results[name] = work.apply_async((0.5,), task_id=name)
        ctl.wait("received", id=name)
    ctl.sleep(0.3)
    ctl.term_worker("w1")
    ctl.sleep(2)
    ctl.drop_connections("w1")
    ctl.join_worker("w1")
    at(ctl, 10)
    ctl.start_worker("w2")
    ctl.sleep(8)
    ctl.note("executions", {name: len([e for e in ctl.wait("start") if e.get("id") == name]) for name in results})
    for name, result in results.items():
        ctl.result(name, result)
