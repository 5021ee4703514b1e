"""max_retries used up: with exc, without, inside an except block, 0, per call, None, and the hooks of the last run."""
import probe
from base import HookedTask, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    class Custom(Exception):
        def __init__(self, a, b):
            super().__init__(a, b)
            self.a, self.b = a, b

    @app.task(name="work", bind=True, max_retries=2, default_retry_delay=1, base=HookedTask)
    def work(self, how):
        probe.log("start")
        if how == "with exc":
            raise self.retry(exc=ValueError("given"))
        if how == "without":
            raise self.retry()
        if how == "in except":
            try:
                1 / 0
            except ZeroDivisionError:
                raise self.retry()
        if how == "in except with exc":
            try:
                1 / 0
            except ZeroDivisionError as exc:
                raise self.retry(exc=exc)
        if how == "per call":
            raise self.retry(max_retries=5 if not self.request.retries else None)
        if how == "zero":
            raise self.retry(max_retries=0)
        if how == "custom":
            raise self.retry(exc=Custom("a", 2))

    @app.task(name="unlimited", bind=True, max_retries=None, default_retry_delay=0)
    def unlimited(self):
        probe.log("start")
        if self.request.retries < 5:
            raise self.retry(countdown=0)
        return self.request.retries

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=12)
    results = {}
    for how in ("with exc", "without", "in except", "in except with exc", "per call", "zero", "custom"):
        results[how] = app.tasks["work"].apply_async((how,), task_id=how)
    results["unlimited"] = app.tasks["unlimited"].apply_async(task_id="unlimited")
    ctl.wait("failure", count=7)
    ctl.wait("success", id="unlimited")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
