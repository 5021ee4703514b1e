"""Revoke of a task that waits for its retry, and of a waiting one with terminate=True."""
import probe
from base import HookedTask, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work", bind=True, base=HookedTask)
    def work(self):
        probe.log("start")
        raise self.retry(countdown=4)

    @app.task(name="other")
    def other():
        probe.log("start")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=4)
    results = {"plain": app.tasks["work"].apply_async(task_id="plain")}
    results["terminated"] = app.tasks["work"].apply_async(task_id="terminated")
    ctl.wait("received", count=2, id="plain")
    ctl.wait("received", count=2, id="terminated")
    ctl.sleep(0.5)
    app.control.revoke("plain")
    app.control.revoke("terminated", terminate=True)
    ctl.sleep(0.7)
    ctl.note("states", {name: result.state for name, result in results.items()})
    app.tasks["other"].apply_async(task_id="other")
    ctl.wait("revoked", id="plain")
    ctl.wait("revoked", id="terminated")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
