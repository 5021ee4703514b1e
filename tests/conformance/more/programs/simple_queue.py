"""SimpleQueue of kombu from the driver: put and get, requeue, reject, empty, and a message left unacknowledged."""
import time
from queue import Empty

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="puts")
    def puts(name):
        probe.log("start")
        time.sleep(1)
        with app.connection() as connection, connection.SimpleQueue(name) as queue:
            queue.put({"from": "task"})

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    with app.connection() as connection, connection.SimpleQueue("box") as queue:
        for n in range(3):
            queue.put({"n": n})
        ctl.sleep(0.3)
        ctl.note("size", queue.qsize())
        first = queue.get(block=True, timeout=1)
        ctl.note("first", [first.payload, bool(first.delivery_info.get("redelivered"))])
        first.ack()
        second = queue.get(timeout=1)
        second.requeue()
        seen = []
        for _ in range(2):
            message = queue.get(timeout=1)
            seen.append([message.payload, bool(message.delivery_info.get("redelivered"))])
            message.reject()
        ctl.note("after requeue", sorted(seen, key=str))
        started = time.time()
        try:
            queue.get(timeout=0.7)
        except Empty:
            ctl.note("empty after", round(time.time() - started, 1))
        try:
            queue.get_nowait()
        except Empty:
            ctl.note("nowait", "empty")
        app.tasks["puts"].apply_async(("box",), task_id="puts")
        got = queue.get(timeout=5)
        probe.log("got", body=got.payload)
        got.ack()
        queue.put({"left": 1})
        queue.put({"left": 2})
        held = queue.get(timeout=1)
        ctl.note("held", held.payload)
    ctl.wait("success", id="puts")
    ctl.sleep(0.5)
