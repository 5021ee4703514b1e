"""get with a timeout, an interval, propagate=False, disable_sync_subtasks; waiting in a task for another one."""
import time

from celery.exceptions import TimeoutError
from celery.result import allow_join_result

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work")
    def work(seconds, fails=False):
        probe.log("start")
        time.sleep(seconds)
        if fails:
            raise ValueError("boom")
        return seconds

    @app.task(name="waits", bind=True)
    def waits(self, allowed):
        probe.log("start")
        result = work.apply_async((0.8,), task_id=f"inner {allowed}")
        if not allowed:
            return result.get(timeout=5)
        with allow_join_result():
            return result.get(timeout=5)

    @app.task(name="dead", soft_time_limit=3)
    def dead():
        probe.log("start")
        with allow_join_result():
            return work.apply_async((0.1,), task_id="never", queue="nobody").get()

    return app


def drive(app, ctl):
    work, waits, dead = (app.tasks[name] for name in ("work", "waits", "dead"))
    ctl.start_worker("w1", concurrency=2)
    started = time.time()
    slow = work.apply_async((2.5,), task_id="slow")
    try:
        slow.get(timeout=1)
    except TimeoutError as exc:
        ctl.note("timeout", [repr(exc), round(time.time() - started)])
    ctl.note("then", slow.get(timeout=5))
    bad = work.apply_async((0.3, True), task_id="bad")
    ctl.note("not propagated", repr(bad.get(timeout=5, propagate=False)))
    for allowed in (False, True):
        result = waits.apply_async((allowed,), task_id=f"waits {allowed}")
        try:
            ctl.note(f"waits {allowed}", result.get(timeout=8))
        except Exception as exc:
            ctl.note(f"waits {allowed}", type(exc).__name__)
    result = dead.apply_async(task_id="dead")
    try:
        result.get(timeout=8)
    except Exception as exc:
        ctl.note("dead", repr(exc))
    try:
        app.AsyncResult("unknown").get(timeout=0.7)
    except TimeoutError as exc:
        ctl.note("unknown", repr(exc))
    ctl.sleep(1)
