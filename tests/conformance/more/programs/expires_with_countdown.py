"""expires together with a countdown, before any worker is there, in a retry, as a datetime, and in the past."""
from datetime import datetime, timedelta, timezone

import probe
from base import HookedTask, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work():
        probe.log("start")
        return "ran"

    @app.task(name="again", bind=True, base=HookedTask, max_retries=None)
    def again(self):
        probe.log("start")
        raise self.retry(countdown=1.2)

    return app


def drive(app, ctl):
    work, again = app.tasks["work"], app.tasks["again"]
    results = {"before": work.apply_async(task_id="before", expires=1)}
    ctl.sleep(0.5)
    ctl.start_worker("w1", prefetch_multiplier=8)
    ctl.sleep(0.5)
    results["after eta"] = work.apply_async(task_id="after eta", countdown=3, expires=2)
    results["in time"] = work.apply_async(task_id="in time", countdown=2, expires=4)
    when = datetime.now(timezone.utc) + timedelta(seconds=2)
    results["datetime"] = work.apply_async(task_id="datetime", countdown=3, expires=when)
    results["again"] = again.apply_async(task_id="again", expires=3)
    past = datetime.now(timezone.utc) - timedelta(seconds=5)
    results["past"] = work.apply_async(task_id="past", expires=past)
    ctl.wait("revoked", id="again")
    ctl.wait("revoked", id="after eta")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
