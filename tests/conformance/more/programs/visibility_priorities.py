"""Redis priorities with a visibility timeout: a killed worker's messages come back into their priority lists."""
import time

import probe
from base import celery_app, sweep

BROKERS = ("redis",)


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over,
                     {**sweep(5), "priority_steps": [0, 3, 6, 9], "queue_order_strategy": "priority"}, task_acks_late=True)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    work.apply_async((20,), task_id="lost", priority=9)
    ctl.wait("start", id="lost")
    for n, priority in enumerate((9, 0, 5)):
        work.apply_async((0.5,), task_id=f"p{priority}.{n}", priority=priority)
        ctl.sleep(0.1)
    ctl.wait("received", count=4)
    ctl.kill_worker("w1")
    for n, priority in enumerate((9, 3, 0)):
        work.apply_async((0.5,), task_id=f"q{priority}.{n}", priority=priority)
    ctl.sleep(6)
    ctl.start_worker("w2")
    ctl.sleep(5)
