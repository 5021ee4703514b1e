"""replace within a chord: a header task replaced by a task, by a chain, by a group; the body replaced."""
import time

from celery import chain, chord, group

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="add")
    def add(x, y, seconds=0.3):
        probe.log("start")
        time.sleep(seconds)
        return x + y

    @app.task(name="swap", bind=True)
    def swap(self, how):
        probe.log("start", how=how)
        if how == "task":
            raise self.replace(add.s(1, 2))
        if how == "chain":
            raise self.replace(chain(add.s(1, 2), add.s(3)))
        if how == "group":
            raise self.replace(group(add.s(1, 2).set(task_id="m1"), add.s(3, 4, seconds=0.9).set(task_id="m2")))

    @app.task(name="total")
    def total(values):
        probe.log("start", values=values)
        return values

    @app.task(name="swapped body", bind=True)
    def swapped_body(self, values):
        probe.log("start", values=values)
        raise self.replace(total.s(values))

    @app.task(name="adds", bind=True)
    def adds(self, n):
        probe.log("start")
        if n:
            self.add_to_chord(add.s(n, n, seconds=1.4).set(task_id="added"))
        return n

    return app


def drive(app, ctl):
    add, swap, total, swapped, adds = (app.tasks[n] for n in ("add", "swap", "total", "swapped body", "adds"))
    ctl.start_worker("w1", concurrency=2)
    for how in ("task", "chain", "group"):
        result = chord([swap.s(how).set(task_id=f"{how} h1"), add.s(10, 10, seconds=1.5).set(task_id=f"{how} h2")])(
            total.s().set(task_id=f"{how} body"))
        ctl.note(how, result.get(timeout=10))
        ctl.result(f"{how} h1", app.AsyncResult(f"{how} h1"))
    result = chord([add.s(1, 1).set(task_id="b1"), add.s(2, 2, seconds=0.8).set(task_id="b2")])(
        swapped.s().set(task_id="b body"))
    ctl.note("body", result.get(timeout=10))
    result = chord([adds.s(3).set(task_id="c1"), add.s(2, 2, seconds=0.8).set(task_id="c2")])(
        total.s().set(task_id="c body"))
    ctl.note("added", result.get(timeout=10))
    ctl.sleep(0.5)
