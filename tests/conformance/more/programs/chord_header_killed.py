"""A chord one of whose header tasks loses its pool process; and one whose part comes back (reject_on_worker_lost)."""
import time

from celery import chord

import probe
from base import at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    def part(seconds):
        probe.log("start")
        time.sleep(seconds)
        return seconds

    app.task(part, name="part")
    app.task(part, name="safe", acks_late=True, reject_on_worker_lost=True)

    @app.task(name="body")
    def body(values):
        probe.log("start", values=values)
        return values

    @app.task(name="errback")
    def errback(request, exc, traceback):
        probe.log("errback", of=request.id, exc=repr(exc))

    return app


def drive(app, ctl):
    part, safe, body, errback = (app.tasks[name] for name in ("part", "safe", "body", "errback"))
    ctl.start_worker("w1", concurrency=2)
    at(ctl, 2)
    chord([part.s(1).set(task_id="a1"), part.s(9).set(task_id="a2")])(
        body.s().set(task_id="a body").on_error(errback.s().set(task_id="errback a")))
    ctl.wait("start", id="a2")
    at(ctl, 4.6)
    ctl.kill_pool_process("a2")
    at(ctl, 7)
    chord([part.s(1).set(task_id="b1"), safe.s(4).set(task_id="b2")])(body.s().set(task_id="b body"))
    ctl.wait("start", id="b2")
    at(ctl, 9.6)
    ctl.kill_pool_process("b2")
    ctl.wait("success", id="b body")
    ctl.sleep(1)
    for name in ("a1", "a2", "a body", "b1", "b2", "b body"):
        ctl.result(name, app.AsyncResult(name))
