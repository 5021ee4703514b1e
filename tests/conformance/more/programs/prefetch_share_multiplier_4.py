"""Shares with multiplier 4: the first worker takes four times its pool; two pool processes each."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=4)
    for n in range(10):
        app.tasks["work"].apply_async((1,), task_id=f"t{n}")
    ctl.wait("start", id="t0")
    ctl.start_worker("w2", prefetch_multiplier=4)
    done = ctl.wait("success", count=10)
    ctl.sleep(0.5)
    ctl.note("shares", {w: sum(e["worker"] == w for e in done) for w in ("w1", "w2")})
