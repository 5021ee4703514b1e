"""RabbitMQ: x-max-length with drop-head and with reject-publish, x-message-ttl, and a priority queue of another maximum."""
import time

from kombu import Exchange, Queue

import probe
from base import celery_app

BROKERS = ("amqp",)


def make_app(broker_url, backend_url, **over):
    direct = Exchange("direct", type="direct")
    app = celery_app(broker_url, backend_url, over, task_acks_late=True, task_queues=[
        Queue("short", direct, "short", queue_arguments={"x-max-length": 2}),
        Queue("full", direct, "full", queue_arguments={"x-max-length": 2, "x-overflow": "reject-publish"}),
        Queue("ttl", direct, "ttl", queue_arguments={"x-message-ttl": 2000}),
        Queue("ranked", direct, "ranked", queue_arguments={"x-max-priority": 3}),
    ])

    @app.task(name="work")
    def work(seconds=0.3):
        probe.log("start")
        time.sleep(seconds)

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    with app.connection() as connection:
        for queue in app.conf.task_queues:
            queue(connection.channel()).declare()
    for queue in ("short", "full", "ttl"):
        for n in range(4):
            work.apply_async(task_id=f"{queue}{n}", queue=queue)
    for n, priority in enumerate((0, 1, 2, 3, 9, None)):
        work.apply_async(task_id=f"ranked{n}", queue="ranked", priority=priority)
    ctl.sleep(1)
    ctl.start_worker("w1", queues=["short", "full", "ttl"])
    ctl.wait("success", count=4)
    ctl.sleep(0.5)
    ctl.start_worker("w2", queues=["ranked"])
    ctl.wait("success", count=10)
    ctl.sleep(0.5)
