"""A body that is JSON and no list of three: the worker ends, and so does the next one; the good task never runs."""
import json

import probe
from base import at, celery_app, sweep

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, sweep(60))

    @app.task(name="work")
    def work():
        probe.log("start")
        return "ok"

    return app


def send(app, name, body):
    headers = {"lang": "py", "task": "work", "id": name, "root_id": name, "parent_id": None, "group": None}
    with app.connection() as connection, connection.SimpleQueue("celery") as queue:
        queue.producer.publish(json.dumps(body).encode(), content_type="application/json", content_encoding="utf-8",
                               headers=headers, routing_key="celery", correlation_id=name, exchange="celery")
    probe.log("raw", what=name)


def drive(app, ctl):
    ctl.start_worker("w1")
    send(app, "numbers", [1, 2, 3])
    ctl.sleep(1.5)
    app.tasks["work"].apply_async(task_id="between")
    ctl.wait("success", id="between")
    ctl.sleep(0.5)
    send(app, "mapping", {"a": 1})
    ctl.join_worker("w1")
    app.tasks["work"].apply_async(task_id="behind")
    at(ctl, 6)
    ctl.start_worker("w2")
    ctl.join_worker("w2")
    ctl.sleep(1)
    for name in ("numbers", "between", "mapping", "behind"):
        ctl.result(name, app.AsyncResult(name))
