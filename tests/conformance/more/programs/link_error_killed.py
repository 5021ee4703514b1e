"""link_error when the pool process is killed, the hard limit is passed, or the task is revoked while it runs."""
import time

import probe
from base import at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    @app.task(name="new")
    def new(request, exc, traceback):
        probe.log("new errback", of=request.id, exc=type(exc).__name__, traceback=traceback is not None)

    @app.task(name="old")
    def old(task_id):
        probe.log("old errback", of=task_id)

    return app


def drive(app, ctl):
    work, new, old = (app.tasks[name] for name in ("work", "new", "old"))
    ctl.start_worker("w1")
    results = {}

    def send(name, **options):
        results[name] = work.apply_async(
            (15,), task_id=name, link_error=[new.s().set(task_id=f"new {name}"), old.s().set(task_id=f"old {name}")],
            link=work.s(0).set(task_id=f"never {name}"), **options)

    send("killed")
    ctl.wait("start", id="killed")
    at(ctl, 4.6)
    ctl.kill_pool_process("killed")
    at(ctl, 6.6)
    send("limited", time_limit=3)
    ctl.wait("failure", id="limited")
    at(ctl, 12)
    send("revoked")
    ctl.wait("start", id="revoked")
    at(ctl, 14.6)
    app.control.revoke("revoked", terminate=True)
    at(ctl, 17)
    for name, result in results.items():
        ctl.result(name, result)
        ctl.result(f"old {name}", app.AsyncResult(f"old {name}"))
        ctl.result(f"new {name}", app.AsyncResult(f"new {name}"))
