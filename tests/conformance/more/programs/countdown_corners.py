"""countdown 0, negative, fractional; eta naive, in another timezone, far; a group with countdown, skew; link countdown."""
from datetime import datetime, timedelta, timezone

from celery import chain, group

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, timezone="Europe/Berlin")

    @app.task(name="work")
    def work(*args):
        probe.log("start")
        return 1

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=20)
    work.apply_async(task_id="zero", countdown=0)
    work.apply_async(task_id="negative", countdown=-3)
    work.apply_async(task_id="fraction", countdown=1.25)
    now = datetime.now(timezone.utc)
    work.apply_async(task_id="naive utc", eta=(now + timedelta(seconds=2)).replace(tzinfo=None))
    work.apply_async(task_id="other zone", eta=(now + timedelta(seconds=3)).astimezone(timezone(timedelta(hours=-7))))
    group(work.s().set(task_id=f"g{n}") for n in range(3)).skew(start=1, stop=4).apply_async()
    chain(work.s().set(task_id="c1"), work.s().set(task_id="c2", countdown=2), work.s().set(task_id="c3")).apply_async(countdown=1)
    work.apply_async(task_id="linked", link=work.s().set(task_id="link", countdown=1.5))
    ctl.wait("success", id="c3")
    ctl.wait("success", count=12)
    ctl.sleep(0.5)
