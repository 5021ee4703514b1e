"""pool_grow and pool_shrink by remote control: how many run at once before, between and after."""
import time

import probe
from base import at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    for n in range(2):
        work.apply_async((1,), task_id=f"a{n}")
    ctl.wait("success", id="a1")
    ctl.note("grow", app.control.pool_grow(1, reply=True, timeout=1))
    ctl.sleep(1)
    for n in range(3):
        work.apply_async((1,), task_id=f"b{n}")
    ctl.wait("success", id="b2")
    at(ctl, 8.5)
    ctl.note("shrink", app.control.pool_shrink(1, reply=True, timeout=1))
    ctl.sleep(1)
    for n in range(2):
        work.apply_async((1,), task_id=f"c{n}")
    ctl.wait("success", id="c1")
    stats = app.control.inspect(timeout=1).stats()["w1@conf"]
    ctl.note("stats", [stats["total"], stats["pool"]["max-concurrency"], len(stats["pool"]["processes"]), stats["prefetch_count"]])
    ctl.sleep(0.5)
