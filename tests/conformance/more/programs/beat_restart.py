"""beat is stopped over due times and started again: one run at once for any number of missed ones."""
import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, beat_schedule={
        "often": {"task": "tick", "schedule": 2.0, "args": ("often",)},
        "rare": {"task": "tick", "schedule": 9.0, "args": ("rare",)},
    })

    @app.task(name="tick")
    def tick(name):
        probe.log("start", entry=name)

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    ctl.start_beat()
    ctl.wait("publish", timeout=10)
    ctl.sleep(3)
    ctl.stop_beat()
    ctl.sleep(5)
    ctl.start_beat()
    ctl.sleep(5.3)
    ctl.stop_beat()
    ctl.sleep(0.5)
