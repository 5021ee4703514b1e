"""worker_disable_prefetch on Redis: nothing is held behind a busy process; a peer that comes later gets the rest."""
import time

import probe
from base import celery_app

BROKERS = ("redis",)


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, worker_disable_prefetch=True)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    work.apply_async((6,), task_id="long")
    ctl.wait("start", id="long")
    for n in range(3):
        work.apply_async((0.7,), task_id=f"short{n}")
        ctl.sleep(0.1)
    ctl.start_worker("w2", prefetch_multiplier=4)
    ctl.wait("success", count=4)
    work.apply_async((0.3,), task_id="eta", countdown=1)
    ctl.wait("success", id="eta")
    ctl.sleep(0.5)
