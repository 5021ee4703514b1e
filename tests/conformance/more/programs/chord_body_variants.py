"""A chord whose header part is revoked, one that expires, one ignored; a body that fails, retries, is in another queue."""
import time

from celery import chord
from celery.exceptions import Ignore

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="part")
    def part(n, seconds=0.3):
        probe.log("start")
        time.sleep(seconds)
        return n

    @app.task(name="no result", ignore_result=True)
    def no_result(n):
        probe.log("start")
        time.sleep(0.5)
        return n

    @app.task(name="ignores")
    def ignores():
        probe.log("start")
        raise Ignore

    @app.task(name="body", bind=True)
    def body(self, values, how=None):
        probe.log("start", values=values)
        if how == "retries" and not self.request.retries:
            raise self.retry(countdown=1)
        return values

    @app.task(name="errback")
    def errback(request, exc, traceback):
        probe.log("errback", of=request.id, exc=repr(exc))

    return app


def drive(app, ctl):
    part, no_result, ignores, body, errback = (
        app.tasks[name] for name in ("part", "no result", "ignores", "body", "errback"))
    ctl.start_worker("w1", prefetch_multiplier=8, queues=["celery", "other"])
    results = {}

    def send(name, header, how=None, **options):
        results[name] = chord(header)(body.s(how=how).set(task_id=name, **options).on_error(
            errback.s().set(task_id=f"errback {name}")))

    send("no result", [no_result.s(1).set(task_id="a1"), part.s(2).set(task_id="a2")])
    send("retries", [part.s(1).set(task_id="b1"), part.s(2).set(task_id="b2")], "retries")
    send("elsewhere", [part.s(1).set(task_id="c1"), part.s(2).set(task_id="c2")], queue="other", countdown=1)
    send("ignored", [part.s(1).set(task_id="d1"), ignores.s().set(task_id="d2")])
    send("revoked", [part.s(1, 1).set(task_id="e1"), part.s(2).set(task_id="e2", countdown=6)])
    send("expired", [part.s(1).set(task_id="f1"), part.s(2).set(task_id="f2", countdown=5, expires=4)])
    ctl.wait("received", id="f2")
    app.control.revoke("e2")
    ctl.sleep(9)
    for name, result in results.items():
        ctl.result(name, result)
