"""A revoke outlives the restart of a worker when a peer remembers it."""
import time

import probe
from base import celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(30))

    @app.task(name="work")
    def work():
        probe.log("start")

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    ctl.start_worker("w2", queues=["other"])
    started = time.time()
    result = app.tasks["work"].apply_async(task_id="work", countdown=12)
    ctl.wait("received", id="work", worker="w1")
    app.control.revoke("work")
    ctl.sleep(1)
    ctl.note("state after the revoke", result.state)
    ctl.term_worker("w1")
    ctl.join_worker("w1")
    ctl.sleep(max(0, started + 6 - time.time()))
    ctl.start_worker("w1")
    ctl.sleep(0.2)
    ctl.note("revoked", app.control.inspect(timeout=1).revoked())
    ctl.wait("revoked", id="work")
    ctl.sleep(1)
    ctl.result("work", result)
