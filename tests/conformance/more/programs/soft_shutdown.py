"""worker_soft_shutdown_timeout=3: SIGQUIT with a task that ends in time, one that does not, one held, one late."""
import time

import probe
from base import at, celery_app, HookedTask, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60), worker_soft_shutdown_timeout=3)

    def body(seconds):
        probe.log("start")
        time.sleep(seconds)
        probe.log("end")

    app.task(body, name="early", base=HookedTask)
    app.task(body, name="late", base=HookedTask, acks_late=True)
    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=3, prefetch_multiplier=2)
    early, late = app.tasks["early"], app.tasks["late"]
    results = {}
    for name, task, seconds in (("short", early, 2.5), ("long", early, 12), ("late", late, 7)):
        results[name] = task.apply_async((seconds,), task_id=name)
        ctl.wait("start", id=name)
    results["held"] = early.apply_async((0.5,), task_id="held")
    ctl.wait("received", id="held")
    ctl.sleep(0.5)
    ctl.quit_worker("w1")
    ctl.join_worker("w1")
    ctl.note("states", {name: result.state for name, result in results.items()})
    at(ctl, 7)
    ctl.start_worker("w2")
    ctl.wait("end", id="held", worker="w2")
    ctl.wait("end", id="late", worker="w2")
    ctl.sleep(1)
    for name, result in results.items():
        ctl.result(name, result)
