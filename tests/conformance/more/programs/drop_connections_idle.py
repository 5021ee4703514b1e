"""The connections are cut while the worker is idle, and again; tasks before, between and after, one with an eta."""
import probe
from base import celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60))

    @app.task(name="work")
    def work():
        probe.log("start")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    work.apply_async(task_id="before")
    ctl.wait("success", id="before")
    ctl.sleep(1)
    ctl.drop_connections("w1")
    ctl.sleep(0.3)
    work.apply_async(task_id="at once after")
    ctl.wait("success", id="at once after")
    work.apply_async(task_id="eta", countdown=5)
    ctl.wait("received", id="eta")
    ctl.sleep(1)
    ctl.drop_connections("w1")
    ctl.sleep(3)
    work.apply_async(task_id="between")
    ctl.wait("success", id="between")
    ctl.note("ping", app.control.inspect(timeout=1).ping())
    ctl.wait("success", id="eta")
    ctl.sleep(1)
