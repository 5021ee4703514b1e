"""Two queues on one worker, cancel and add a consumer with messages held, and messages that wait in a cancelled queue."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")    # which queue is next when both have messages is chance on RabbitMQ


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work(seconds):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", queues=["one", "two"], prefetch_multiplier=2)
    for n in range(3):
        work.apply_async((0.3,), task_id=f"one{n}", queue="one")
        ctl.sleep(0.5)
        work.apply_async((0.3,), task_id=f"two{n}", queue="two")
        ctl.sleep(0.5)
    ctl.wait("success", count=6)
    ctl.note("cancel", app.control.cancel_consumer("two", reply=True, timeout=1))
    work.apply_async((0.2,), task_id="two waits", queue="two")
    work.apply_async((0.2,), task_id="one goes", queue="one")
    ctl.wait("success", id="one goes")
    ctl.sleep(1)
    ctl.note("again", app.control.cancel_consumer("two", reply=True, timeout=1))
    ctl.note("add", app.control.add_consumer("two", reply=True, timeout=1))
    ctl.wait("success", id="two waits")
    ctl.note("add again", app.control.add_consumer("two", reply=True, timeout=1))
    ctl.note("queues", [q["name"] for q in app.control.inspect(timeout=1).active_queues()["w1@conf"]])
    ctl.sleep(0.3)
