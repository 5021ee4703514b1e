"""worker_init, worker_process_init and worker_process_shutdown; celeryd_init; with max_tasks_per_child and a warm stop."""
import time

from celery import signals

import probe
from base import at, celery_app, on

BROKERS = ("redis", "amqp")


def init(**_):
    probe.log("worker init")


def process_init(**_):
    probe.log("process init")


def process_shutdown(exitcode=None, **_):
    probe.log("process shutdown", exitcode=exitcode)


def celeryd(instance=None, **_):
    probe.log("after setup")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)
    on(signals.worker_init, init)
    on(signals.worker_process_init, process_init)
    on(signals.worker_process_shutdown, process_shutdown)
    on(signals.celeryd_after_setup, celeryd)

    @app.task(name="work")
    def work():
        probe.log("start")
        time.sleep(0.3)

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2, max_tasks_per_child=2)
    at(ctl, 4.2)
    for n in range(4):
        app.tasks["work"].apply_async(task_id=f"t{n}")
    at(ctl, 6.5)
    app.tasks["work"].apply_async(task_id="last")
    ctl.wait("success", count=5)
    ctl.sleep(0.5)
    ctl.term_worker("w1")
    ctl.join_worker("w1")
    ctl.sleep(0.5)
