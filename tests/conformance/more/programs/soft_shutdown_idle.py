"""worker_enable_soft_shutdown_on_idle: an idle worker with eta tasks waits its 3 s too; another without the setting."""
import probe
from base import at, celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60), worker_soft_shutdown_timeout=3)

    @app.task(name="work")
    def work():
        probe.log("start")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", conf={"worker_enable_soft_shutdown_on_idle": True}, prefetch_multiplier=4)
    result = work.apply_async(task_id="eta", countdown=15)
    ctl.wait("received", id="eta")
    ctl.sleep(1.5)
    ctl.quit_worker("w1")
    ctl.join_worker("w1")
    at(ctl, 7)
    ctl.start_worker("w2")
    ctl.sleep(1)
    ctl.quit_worker("w2")
    ctl.join_worker("w2")
    at(ctl, 14)
    ctl.start_worker("w3")
    ctl.wait("success", id="eta")
    ctl.sleep(1)
    ctl.result("eta", result)
