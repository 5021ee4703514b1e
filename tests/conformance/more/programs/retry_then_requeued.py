"""An acks_late task retries, its retry run is requeued by the crash of its worker, and runs on another one."""
import time

import probe
from base import celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(5), task_acks_late=True, task_track_started=True)

    @app.task(name="work", bind=True)
    def work(self):
        probe.log("start")
        if self.request.retries == 0:
            raise self.retry(countdown=1)
        time.sleep(3)
        if self.request.retries == 1:
            raise self.retry(countdown=1.5)
        probe.log("end")
        return self.request.retries

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    result = app.tasks["work"].apply_async(task_id="work")
    ctl.wait("start", id="work", retries=1, worker="w1")
    ctl.start_worker("w2")
    ctl.kill_worker("w1")
    ctl.wait("end", id="work", worker="w2")
    ctl.sleep(1.5)
    ctl.result("work", result)
