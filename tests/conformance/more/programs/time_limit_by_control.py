"""time_limit set by remote control while a task runs, and what it does to the next one."""
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
        probe.log("end")

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2)
    work = app.tasks["work"]
    results = {"running": work.apply_async((5,), task_id="running")}
    ctl.wait("start", id="running")
    ctl.note("reply", app.control.time_limit("work", soft=1, hard=3, reply=True, timeout=1))
    results["limited"] = work.apply_async((2,), task_id="limited")
    ctl.note("inspect", app.control.inspect(timeout=1).conf() is not None)
    ctl.wait("end", id="running")
    ctl.sleep(1)
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
