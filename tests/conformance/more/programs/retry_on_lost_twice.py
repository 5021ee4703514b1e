"""retry_on_worker_lost together with acks_late and reject_on_worker_lost; two deaths within one delay of each other."""
import time

import probe
from base import HookedTask, at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_acks_late=True, task_reject_on_worker_lost=True)

    def body():
        probe.log("start")
        time.sleep(12)
        probe.log("end")

    app.task(body, name="both", base=HookedTask, retry_on_worker_lost=True, default_retry_delay=1, max_retries=2)
    app.task(body, name="limited", base=HookedTask, time_limit=4.1, retry_on_worker_lost=True, default_retry_delay=1, max_retries=1)
    app.task(body, name="linked", base=HookedTask, retry_on_worker_lost=True, default_retry_delay=1, max_retries=0)

    @app.task(name="errback")
    def errback(request, exc, traceback):
        probe.log("errback", of=request.id, exc=type(exc).__name__)

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=3)
    at(ctl, 1.6)
    errback = app.tasks["errback"]
    results = {name: app.tasks[name].apply_async(task_id=name, link_error=errback.s().set(task_id=f"errback {name}"))
               for name in ("both", "limited", "linked")}
    for name in results:
        ctl.wait("start", id=name)
    at(ctl, 4.6)
    ctl.kill_pool_process("both")
    ctl.kill_pool_process("linked")
    ctl.wait("start", id="both", count=2)
    at(ctl, 9.6)
    ctl.kill_pool_process("both")
    ctl.wait("start", id="both", count=3)
    ctl.wait("end", id="both")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
