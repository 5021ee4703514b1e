"""All at once: shares with early acknowledgement and multiplier 4: two workers, tasks of 2.6, 1, 1, 1, 1, 1, 1, 1, 1, 1 s."""
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
    ctl.start_worker("w2", prefetch_multiplier=4)
    for n, seconds in enumerate((2.6, 1, 1, 1, 1, 1)):
        app.tasks["work"].apply_async((seconds,), task_id=f"t{n}")
    done = ctl.wait("success", count=6)
    ctl.sleep(0.5)
    ctl.note("shares", sorted(sum(e["worker"] == w for e in done) for w in ("w1", "w2")))
