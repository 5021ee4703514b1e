"""rpc:// with two clients: each gets its own results only; a result object made from the id in another app."""
import time

from celery.exceptions import TimeoutError

import probe
from base import celery_app

BROKERS = ("amqp",)


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, "rpc://", over, task_track_started=True)

    @app.task(name="work")
    def work(x, seconds=0.3):
        probe.log("start")
        time.sleep(seconds)
        return x

    @app.task(name="parent")
    def parent():
        probe.log("start")
        from celery.result import allow_join_result
        with allow_join_result():
            return work.apply_async((7,), task_id="inner").get(timeout=5)

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2)
    one = app.tasks["work"].apply_async((1,), task_id="one")
    two = app.tasks["work"].apply_async((2, 0.6), task_id="two")
    ctl.note("two", two.get(timeout=5))
    ctl.note("one", one.get(timeout=5))
    parent = app.tasks["parent"].apply_async(task_id="parent")
    ctl.note("parent", parent.get(timeout=8))
    slow = app.tasks["work"].apply_async((3, 2), task_id="slow")
    try:
        slow.get(timeout=0.8)
    except TimeoutError as exc:
        ctl.note("too early", repr(exc))
    ctl.note("slow", slow.get(timeout=5))
    ctl.sleep(0.5)
    ctl.result("slow", slow)
    ctl.result("unknown", app.AsyncResult("unknown"))
