"""RabbitMQ: Reject and an expired message go to a dead-letter exchange, and come back as tasks after a TTL."""
from celery.exceptions import Reject
from kombu import Exchange, Queue

import probe
from base import at, celery_app

BROKERS = ("amqp",)


def make_app(broker_url, backend_url, **over):
    dead = {"x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "waiting"}
    app = celery_app(broker_url, backend_url, over, task_acks_late=True, task_default_queue="main",
                     task_queues=[Queue("main", Exchange("main"), "main", queue_arguments=dead)])

    @app.task(name="work", bind=True)
    def work(self):
        deaths = (self.request.headers or {}).get("x-death") or []
        probe.log("start", deaths=[[d["queue"], d["reason"], d["count"]] for d in deaths])
        if len(deaths) < 2 and not (deaths and deaths[0]["count"] > 1):
            raise Reject("not yet", requeue=False)
        return "done"

    @app.task(name="plain")
    def plain():
        probe.log("start")

    return app


def drive(app, ctl):
    with app.connection() as connection:
        channel = connection.channel()
        exchange = Exchange("dead", durable=True)
        Queue("waiting", exchange, "waiting", queue_arguments={
            "x-message-ttl": 1500, "x-dead-letter-exchange": "main", "x-dead-letter-routing-key": "main"})(channel).declare()
        channel.close()
    ctl.start_worker("w1")
    result = app.tasks["work"].apply_async(task_id="work")
    ctl.wait("success", id="work")
    ctl.result("work", result)
    ctl.term_worker("w1")
    ctl.join_worker("w1")
    at(ctl, 7.5)
    app.tasks["plain"].apply_async(task_id="expires", expires=1)
    ctl.sleep(1.5)
    ctl.start_worker("w1")
    ctl.sleep(3)
    ctl.result("expires", app.AsyncResult("expires"))
