"""A task retries, and another publishes a task, while their worker shuts down warm; the next worker runs both."""
import time

import probe
from base import at, celery_app, HookedTask, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60))

    @app.task(name="work", bind=True, base=HookedTask)
    def work(self):
        probe.log("start")
        time.sleep(3)
        if not self.request.retries:
            raise self.retry(countdown=1)
        return "done"

    @app.task(name="child")
    def child():
        probe.log("start")

    @app.task(name="parent")
    def parent():
        probe.log("start")
        time.sleep(2)
        child.apply_async(task_id="child")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2)
    work = app.tasks["work"].apply_async(task_id="work")
    app.tasks["parent"].apply_async(task_id="parent")
    ctl.wait("start", id="work")
    ctl.wait("start", id="parent")
    ctl.sleep(0.5)
    ctl.term_worker("w1")
    ctl.join_worker("w1")
    ctl.note("state", work.state)
    at(ctl, 7)
    ctl.start_worker("w2")
    ctl.wait("success", id="work")
    ctl.wait("success", id="child")
    ctl.sleep(1)
    ctl.result("work", work)
