"""SIGTERM with an acks_late task running, one prefetched and two waiting for their eta; a peer takes over."""
import time

import probe
from base import at, celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60), task_acks_late=True)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    results = {"running": work.apply_async((6,), task_id="running")}
    ctl.wait("start", id="running")
    results["held"] = work.apply_async((0.5,), task_id="held")
    results["soon"] = work.apply_async((0.5,), task_id="soon", countdown=6)
    ctl.sleep(1.2)
    results["later"] = work.apply_async((0.5,), task_id="later", countdown=12)
    ctl.wait("received", id="later")
    ctl.sleep(0.5)
    ctl.term_worker("w1")
    ctl.join_worker("w1")
    at(ctl, 10)
    ctl.start_worker("w2", prefetch_multiplier=4)
    ctl.wait("end", id="later")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
