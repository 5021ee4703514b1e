"""rate_limit changed by remote control while tasks wait for it; a free one behind them; time_limit by control."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="slow", rate_limit="20/m")
    def slow():
        probe.log("start")

    @app.task(name="free")
    def free():
        probe.log("start")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=4)
    for n in range(7):
        app.tasks["slow"].apply_async(task_id=f"slow{n}")
    app.tasks["free"].apply_async(task_id="free")
    ctl.wait("start", id="slow1")
    ctl.note("reply", app.control.rate_limit("slow", "2/s", reply=True, timeout=1))
    ctl.wait("success", id="free")
    ctl.wait("success", count=8)
    ctl.note("none", app.control.rate_limit("slow", 0, reply=True, timeout=1))
    for n in range(7, 10):
        app.tasks["slow"].apply_async(task_id=f"slow{n}")
    ctl.wait("success", count=11)
    ctl.note("bad", app.control.rate_limit("slow", "many", reply=True, timeout=1))
    ctl.note("unknown", app.control.rate_limit("nothing", "1/s", reply=True, timeout=1))
    ctl.sleep(0.5)
