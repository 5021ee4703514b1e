"""reject_on_worker_lost and a task whose process is killed each time; stopped by a revoke."""
import time

import probe
from base import at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_acks_late=True, task_reject_on_worker_lost=True)

    @app.task(name="poison")
    def poison():
        probe.log("start")
        time.sleep(20)

    @app.task(name="good")
    def good():
        probe.log("start")

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    at(ctl, 1.6)
    poison = app.tasks["poison"].apply_async(task_id="poison")
    good = app.tasks["good"].apply_async(task_id="good")
    for n in range(3):
        ctl.wait("start", id="poison", count=n + 1)
        at(ctl, 4.6 + 5 * n)
        ctl.kill_pool_process("poison")
    ctl.wait("start", id="poison", count=4)
    ctl.note("state", poison.state)
    at(ctl, 19.6)
    app.control.revoke("poison")
    ctl.sleep(0.1)
    ctl.kill_pool_process("poison")
    ctl.wait("revoked", id="poison")
    ctl.sleep(1)
    ctl.result("poison", poison)
    ctl.result("good", good)
