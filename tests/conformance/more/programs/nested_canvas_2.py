"""Canvas corners: chord of one, an empty group, nested groups, a chain of chords, chord of chords, link on a group."""
import time

from celery import chain, chord, group

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="add")
    def add(x, y=0, seconds=0.2):
        probe.log("start")
        time.sleep(seconds)
        return x + y

    @app.task(name="total")
    def total(values):
        probe.log("start", values=values)
        flat = [v for v in values] if isinstance(values, list) else [values]
        return sum(sum(v) if isinstance(v, list) else v for v in flat)

    @app.task(name="linked")
    def linked(value):
        probe.log("start", value=value)

    return app


def drive(app, ctl):
    add, total, linked = (app.tasks[name] for name in ("add", "total", "linked"))
    ctl.start_worker("w1", concurrency=2)

    def run(name, canvas, **options):
        result = canvas.apply_async(**options)
        try:
            ctl.note(name, result.get(timeout=8))
        except Exception as exc:
            ctl.note(name, repr(exc))

    run("chord of one", chord([add.s(1, 1).set(task_id="a1")], total.s().set(task_id="a2")))
    run("empty group", group([]))
    run("chord of none", chord([], total.s().set(task_id="b2")))
    run("nested groups", group(add.s(1, 1).set(task_id="c1"), group(add.s(2, 2, seconds=0.5).set(task_id="c2"),
                                                                    add.s(3, 3, seconds=0.8).set(task_id="c3"))))
    run("chain of chords", chain(
        chord([add.s(1, 1).set(task_id="d1"), add.s(2, 2, seconds=0.5).set(task_id="d2")], total.s().set(task_id="d3")),
        chord([add.s(10).set(task_id="d4"), add.s(20, seconds=0.5).set(task_id="d5")], total.s().set(task_id="d6"))))
    run("group then group", chain(
        group(add.s(1, 1).set(task_id="e1"), add.s(2, 2, seconds=0.5).set(task_id="e2")),
        group(total.s().set(task_id="e3"), linked.s().set(task_id="e4"))))
    run("chord in a chain's middle", chain(
        add.s(1, 1).set(task_id="f1"),
        group(chain(add.s(1).set(task_id="f2"), add.s(1).set(task_id="f3")), add.s(5, seconds=1).set(task_id="f4")),
        total.s().set(task_id="f5")))
    run("starmap in a chord", chord([add.starmap([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]).set(task_id="h1"),
                                     add.map([5, 6]).set(task_id="h2")], total.s().set(task_id="h3")))
    run("partial and immutable", chain(add.s(4, 4).set(task_id="i1"), add.si(1, 1).set(task_id="i2", countdown=1),
                                       add.s(y=7).set(task_id="i3")))
    ctl.sleep(0.5)
