"""Prefetched behind a long task for longer than the visibility timeout: short tasks run more than once."""
import time

import probe
from base import celery_app, sweep

BROKERS = ("redis",)


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(3))

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    work.apply_async((8,), task_id="long")
    ctl.wait("start", id="long")
    work.apply_async((0.6,), task_id="a")
    work.apply_async((0.6,), task_id="b")
    ctl.wait("received", id="b")
    ctl.start_worker("w2")
    ctl.wait("end", id="long")
    ctl.sleep(5)
    ctl.note("executions", {name: len(ctl.wait("start", id=name)) for name in ("long", "a", "b")})
