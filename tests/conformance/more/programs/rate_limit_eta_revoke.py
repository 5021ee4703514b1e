"""rate_limit together with eta, acks_late, expires and revoke of tasks that wait for their bucket; a peer beside."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="slow", rate_limit="40/m", acks_late=True)
    def slow():
        probe.log("start")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=10)
    slow = app.tasks["slow"]
    results = {}
    for n in range(4):
        results[f"s{n}"] = slow.apply_async(task_id=f"s{n}")
    results["eta"] = slow.apply_async(task_id="eta", countdown=2)
    results["expires"] = slow.apply_async(task_id="expires", expires=4)
    ctl.wait("received", id="expires")
    app.control.revoke("s2")
    ctl.sleep(1)
    ctl.note("states", {name: result.state for name, result in results.items()})
    ctl.sleep(9)
    for name, result in results.items():
        ctl.result(name, result)
