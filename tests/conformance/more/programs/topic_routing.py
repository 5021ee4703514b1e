"""Routing by topic and fanout-like bindings, a router function, and a default routing key."""
import time

from kombu import Exchange, Queue

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def route(name, args, kwargs, options, task=None, **_):
    if name.startswith("feed."):
        return {"exchange": "events", "routing_key": name + "." + str(args[0])}
    return None


def make_app(broker_url, backend_url, **over):
    events = Exchange("events", type="topic")
    app = celery_app(
        broker_url, backend_url, over, task_routes=[route, {"mail": {"queue": "b"}}], task_default_queue="a",
        task_queues=[Queue("a"), Queue("b"), Queue("sport", events, "feed.sport.#"), Queue("all", events, "feed.*.*"),
                     Queue("last", events, "#.last")])

    def body(*args):
        probe.log("start")
        time.sleep(0.3)

    for name in ("feed.sport", "feed.news", "mail", "plain"):
        app.task(body, name=name)
    return app


def drive(app, ctl):
    ctl.start_worker("w1", queues=["a", "sport"])
    ctl.start_worker("w2", queues=["b", "all"])
    app.tasks["feed.sport"].apply_async((1,), task_id="sport 1")
    app.tasks["feed.news"].apply_async((1,), task_id="news 1")
    app.tasks["feed.news"].apply_async(("last",), task_id="news last")
    app.tasks["mail"].apply_async(task_id="mail")
    app.tasks["plain"].apply_async(task_id="plain")
    app.tasks["plain"].apply_async(task_id="to b", queue="b")
    ctl.sleep(2)
