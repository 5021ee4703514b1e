"""link_error on a whole chord, with and without task_allow_error_cb_on_chord_header."""
import time

from celery import chord

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="ok")
    def ok(seconds):
        probe.log("start")
        time.sleep(seconds)
        return seconds

    @app.task(name="bad")
    def bad(seconds):
        probe.log("start")
        time.sleep(seconds)
        raise ValueError("bad header")

    @app.task(name="body")
    def body(values):
        probe.log("start", values=values)
        return values

    @app.task(name="bad body")
    def bad_body(values):
        probe.log("start", values=values)
        raise KeyError("bad body")

    @app.task(name="errback")
    def errback(request, exc, traceback):
        probe.log("errback", of=request.id, exc=repr(exc))

    return app


def drive(app, ctl):
    ok, bad, body, bad_body, errback = (app.tasks[name] for name in ("ok", "bad", "body", "bad body", "errback"))
    ctl.start_worker("w1", concurrency=2)
    for setting in (False, True):
        app.conf.task_allow_error_cb_on_chord_header = setting
        mark = "on" if setting else "off"
        canvas = chord([ok.s(0.5).set(task_id=f"{mark} h1"), bad.s(1).set(task_id=f"{mark} h2"),
                        bad.s(1.5).set(task_id=f"{mark} h3")], body.s().set(task_id=f"{mark} body"))
        canvas.link_error(errback.s().set(task_id=f"{mark} errback"))
        canvas.apply_async()
        ctl.sleep(4)
        ctl.result(f"{mark} body", app.AsyncResult(f"{mark} body"))
    canvas = chord([ok.s(0.2).set(task_id="c h1"), ok.s(0.6).set(task_id="c h2")], bad_body.s().set(task_id="c body"))
    canvas.link_error(errback.s().set(task_id="c errback"))
    canvas.apply_async()
    ctl.wait("failure", id="c body")
    ctl.sleep(1)
    ctl.result("c body", app.AsyncResult("c body"))
