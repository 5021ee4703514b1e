"""Broadcast queues: each worker runs a copy of the task."""
from kombu.common import Broadcast

import probe
from base import celery_app

BROKERS = ("redis",)


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_queues=[Broadcast("everyone")],
                     task_routes={"reload": {"queue": "everyone", "exchange": "everyone"}}, task_create_missing_queues=True)

    @app.task(name="reload", ignore_result=True)
    def reload():
        probe.log("start")

    return app


def drive(app, ctl):
    app.tasks["reload"].apply_async(task_id="nobody hears")
    ctl.start_worker("w1")
    ctl.start_worker("w2")
    app.tasks["reload"].apply_async(task_id="reload")
    ctl.sleep(1)
    ctl.kill_worker("w2")
    ctl.sleep(0.5)
    app.tasks["reload"].apply_async(task_id="again")
    ctl.sleep(1)
