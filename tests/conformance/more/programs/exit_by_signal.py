"""A task that kills its own process by SIGKILL and by SIGTERM, or raises SystemExit with a text."""
import os
import signal
import sys
import time

import probe
from base import HookedTask, at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    def body(self, how):
        probe.log("start")
        if self.request.delivery_info["redelivered"]:
            return "second run"
        time.sleep(0.3)
        if how == "sys.exit":
            sys.exit(3)
        if how == "os._exit":
            os._exit(4)
        if how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(2)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "system exit":
            raise SystemExit("text")
        return "alive"

    app.task(body, name="early", bind=True, base=HookedTask)
    app.task(body, name="late", bind=True, base=HookedTask, acks_late=True)
    app.task(body, name="requeue", bind=True, base=HookedTask, acks_late=True, reject_on_worker_lost=True)
    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    results = {}
    plan = [("early", "kill"), ("requeue", "kill"), ("early", "term"), ("late", "system exit")]
    for n, (task, how) in enumerate(plan):
        at(ctl, 4.3 + 5 * n)
        results[f"{task} {how}"] = app.tasks[task].apply_async((how,), task_id=f"{task} {how}")
    at(ctl, 21)
    for name, result in results.items():
        ctl.result(name, result)
