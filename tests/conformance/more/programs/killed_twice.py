"""acks_late and two crashes in a row; the third worker finishes. A prefetched one goes with it."""
import time

import probe
from base import at, celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(7), task_acks_late=True)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=2)
    work = app.tasks["work"]
    work.apply_async((3,), task_id="long")
    work.apply_async((0.5,), task_id="short")
    ctl.wait("start", id="long", worker="w1")
    ctl.wait("received", id="short", worker="w1")
    ctl.sleep(0.5)
    ctl.kill_worker("w1")
    at(ctl, 7)
    ctl.start_worker("w2", prefetch_multiplier=2)
    ctl.wait("start", worker="w2")
    ctl.sleep(0.3)
    ctl.kill_worker("w2")
    at(ctl, 10, "w2")
    ctl.start_worker("w3", prefetch_multiplier=2)
    ctl.wait("end", id="long", worker="w3")
    ctl.wait("end", id="short", worker="w3")
    ctl.sleep(1)
