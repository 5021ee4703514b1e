"""Errors in hooks and signals: before_start, on_success, on_failure, on_retry, after_return; a failing link."""
from celery import Task

import probe
from base import celery_app, watch_runs

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)
    watch_runs()

    class Failing(Task):
        def hook(self, name, args):
            probe.log(name)
            if args[0] == name:
                raise RuntimeError(name)

        def before_start(self, task_id, args, kwargs):
            self.hook("before_start", args)

        def on_success(self, retval, task_id, args, kwargs):
            self.hook("on_success", args)

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            self.hook("on_failure", args)

        def on_retry(self, exc, task_id, args, kwargs, einfo):
            self.hook("on_retry", args)

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            self.hook("after_return", args)

    @app.task(name="work", base=Failing, bind=True)
    def work(self, how):
        probe.log("start")
        if how == "on_failure":
            raise ValueError("boom")
        if how == "on_retry" and not self.request.retries:
            raise self.retry(countdown=1)
        return how

    @app.task(name="late", base=Failing, bind=True, acks_late=True)
    def late(self, how):
        probe.log("start")
        return how

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    results = {}
    for how in ("before_start", "on_success", "on_failure", "on_retry", "after_return", "none"):
        results[how] = app.tasks["work"].apply_async((how,), task_id=how)
        ctl.sleep(0.4)
    for how in ("before_start", "on_success", "after_return"):
        results[f"late {how}"] = app.tasks["late"].apply_async((how,), task_id=f"late {how}")
        ctl.sleep(0.4)
    results["bad link"] = app.tasks["work"].apply_async(("none",), task_id="bad link", link=app.signature("nobody.knows", task_id="unknown"))
    ctl.sleep(3)
    for name, result in results.items():
        ctl.result(name, result)
