"""autoretry inside try, retry from a nested call, a retry in except that is caught, Reject and Ignore with autoretry."""
from celery.exceptions import Ignore, Reject, Retry

import probe
from base import HookedTask, celery_app, watch_runs

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)
    watch_runs()

    @app.task(name="auto", bind=True, autoretry_for=(Exception,), retry_kwargs={"max_retries": 2, "countdown": 1},
              base=HookedTask, acks_late=True)
    def auto(self, how):
        probe.log("start")
        if how == "reject":
            raise Reject("no", requeue=False)
        if how == "ignore":
            raise Ignore()
        if how == "retry":
            raise self.retry(countdown=0.5, max_retries=1, exc=ValueError("mine"))

    @app.task(name="plain", bind=True, base=HookedTask, default_retry_delay=1, max_retries=1)
    def plain(self, how):
        probe.log("start")
        if how == "caught":
            try:
                self.retry(countdown=1)
            except Retry:
                return "not retried, and retried"
        if how == "no throw":
            self.retry(countdown=1, throw=False)
            return "went on"
        if how == "nested":
            try:
                1 / 0
            except ZeroDivisionError as exc:
                try:
                    raise KeyError("inner") from exc
                except KeyError as inner:
                    raise self.retry(exc=inner)
        if how == "before start":
            return None

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=12)
    results = {}
    for how in ("reject", "ignore", "retry"):
        results[how] = app.tasks["auto"].apply_async((how,), task_id=how)
        ctl.sleep(0.3)
    for how in ("caught", "no throw", "nested"):
        results[how] = app.tasks["plain"].apply_async((how,), task_id=how)
        ctl.sleep(0.3)
    ctl.sleep(5)
    for name, result in results.items():
        ctl.result(name, result)
