"""A worker that holds eta tasks is killed: a peer gets them at once (RabbitMQ) or after the visibility timeout."""
import probe
from base import celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(6))

    @app.task(name="work")
    def work():
        probe.log("start")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=4)
    results = {"soon": work.apply_async(task_id="soon", countdown=8)}
    ctl.sleep(1.1)
    results["late"] = work.apply_async(task_id="late", countdown=11)
    ctl.wait("received", id="late", worker="w1")
    ctl.start_worker("w2", prefetch_multiplier=4)
    ctl.kill_worker("w1")
    ctl.wait("start", id="soon")
    ctl.wait("start", id="late")
    ctl.sleep(2)
    for name, result in results.items():
        ctl.result(name, result)
