"""Two processes run acks_late tasks with others prefetched when the connections are cut; a second worker stands by."""
import time

import probe
from base import celery_app, sweep

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
    ctl.start_worker("w1", concurrency=2, prefetch_multiplier=2)
    for name, seconds in (("r1", 4), ("r2", 6.2), ("p1", 1), ("p2", 1.5)):
        work.apply_async((seconds,), task_id=name)
        ctl.sleep(0.1)
    ctl.wait("received", id="p2", worker="w1")
    ctl.sleep(1.5)
    ctl.drop_connections("w1")
    ctl.sleep(14)
    ctl.note("executions", {name: len(ctl.wait("start", id=name)) for name in ("r1", "r2", "p1", "p2")})
