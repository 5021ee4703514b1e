"""Remote control: query_task, purge, enable_events, destination and pattern, an unknown command, shutdown of one of two."""
import time

import probe
from base import celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60))

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1")
    ctl.start_worker("w2", queues=["other"])
    work.apply_async((9,), task_id="running")
    ctl.wait("start", id="running")
    work.apply_async((0.5,), task_id="held")
    ctl.wait("received", id="held")
    for n in range(3):
        work.apply_async((0.5,), task_id=f"queued{n}")
    ctl.sleep(0.3)
    inspect = app.control.inspect(timeout=1)
    ctl.note("query", {node: {k: v[0] for k, v in found.items()} for node, found in inspect.query_task("running", "held").items()})
    ctl.note("purged", app.control.purge())
    ctl.note("one", app.control.inspect(destination=["w2@conf"], timeout=1).ping())
    ctl.note("pattern", sorted(str(r) for r in app.control.ping(pattern="w?@conf", matcher="glob", timeout=1)))
    ctl.note("events", app.control.broadcast("enable_events", reply=True, timeout=1, destination=["w2@conf"]))
    ctl.note("unknown", app.control.broadcast("no_such_command", reply=True, timeout=1, destination=["w2@conf"]))
    app.control.shutdown(destination=["w2@conf"])
    ctl.join_worker("w2")
    ctl.note("left", sorted(app.control.inspect(timeout=1).ping() or {}))
    ctl.wait("end", id="held")
    ctl.sleep(0.5)
