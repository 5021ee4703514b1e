"""beat sends while no worker is there; some runs expire, the rest pile up and run when the worker comes."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, beat_schedule={
        "kept": {"task": "tick", "schedule": 2.0, "args": ("kept",)},
        "expires": {"task": "tick", "schedule": 3.1, "args": ("expires",), "options": {"expires": 1.5}},
    })

    @app.task(name="tick")
    def tick(name):
        probe.log("start", entry=name)

    return app


def drive(app, ctl):
    ctl.start_beat()
    ctl.wait("publish", timeout=10)
    ctl.sleep(7)
    ctl.stop_beat()
    first = ctl.wait("publish")[0]["t"]
    ctl.sleep(max(0, first + 9.7 - time.time()))
    ctl.start_worker("w1")
    ctl.sleep(2)
