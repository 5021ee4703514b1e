"""Ignore: no state, no hooks; acks_late is acknowledged; with track_started the state stays STARTED."""
from celery.exceptions import Ignore

import probe
from base import HookedTask, celery_app, watch_runs

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_track_started=True)
    watch_runs()

    def body(self, own_state):
        probe.log("start")
        if own_state:
            self.update_state(state="MINE", meta={"kept": True})
        raise Ignore()

    app.task(body, name="early", bind=True, base=HookedTask)
    app.task(body, name="late", bind=True, base=HookedTask, acks_late=True)
    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    results = {}
    for task in ("early", "late"):
        for own_state in (False, True):
            name = f"{task} {'own state' if own_state else 'plain'}"
            results[name] = app.tasks[task].apply_async((own_state,), task_id=name)
    ctl.wait("postrun", id="late own state")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
