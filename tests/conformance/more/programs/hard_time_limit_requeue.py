"""task_acks_on_failure_or_timeout off: a failing acks_late task is rejected, one over its time limit comes back."""
import time

import probe
from base import HookedTask, at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_acks_late=True, task_acks_on_failure_or_timeout=False)

    @app.task(name="fails", base=HookedTask)
    def fails():
        probe.log("start")
        raise ValueError("boom")

    @app.task(name="slow", bind=True, base=HookedTask, time_limit=2.5)
    def slow(self):
        probe.log("start")
        if self.request.delivery_info["redelivered"]:
            return "second run"
        time.sleep(20)

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    fails = app.tasks["fails"].apply_async(task_id="fails")
    at(ctl, 2.1)
    slow = app.tasks["slow"].apply_async(task_id="slow")
    ctl.wait("failure", id="slow")
    ctl.note("state after the limit", slow.state)
    ctl.wait("success", id="slow")
    ctl.sleep(1)
    ctl.note("a new result object", app.AsyncResult("slow").state)
    ctl.result("fails", fails)
    ctl.result("slow", slow)
