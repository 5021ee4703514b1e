"""Headers, compression, types that JSON keeps, shadow, limits and correlation."""
import uuid
from datetime import datetime, timezone
from decimal import Decimal

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="work", bind=True)
    def work(self, *args, **kwargs):
        request = self.request
        probe.log("start", args=repr(args), kwargs=repr(kwargs), headers=(request.headers or {}).get("mine"),
                  correlation=request.correlation_id, root=request.root_id, parent=request.parent_id,
                  properties=request.properties.get("priority") if request.properties else None,
                  origin=bool(request.origin), limits=request.timelimit, ignore=request.ignore_result)
        if kwargs.get("child"):
            work.apply_async(task_id="child")
            work.signature((), {}).set(task_id="grandchild").delay()

    @app.task(name="typed", typing=True)
    def typed(a, b=1):
        return a

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    work = app.tasks["work"]
    work.apply_async((1, "ä€😀"), task_id="plain", headers={"mine": "value"})
    work.apply_async((datetime(2024, 5, 6, tzinfo=timezone.utc), Decimal("1.10"), uuid.UUID(int=5)), task_id="types")
    work.apply_async(("x" * 1000,), task_id="gzip", compression="gzip")
    work.apply_async((), {"child": True}, task_id="parent", shadow="renamed", time_limit=30, soft_time_limit=20)
    work.apply_async(task_id="correlated", correlation_id="other", ignore_result=True)
    try:
        app.tasks["typed"].apply_async((1, 2, 3), task_id="typed")
    except TypeError as exc:
        ctl.note("typed", str(exc))
    app.send_task("typed", (1, 2, 3), task_id="untyped")
    ctl.wait("failure", id="untyped")
    ctl.sleep(1)
    ctl.result("untyped", app.AsyncResult("untyped"))
    ctl.result("gzip", app.AsyncResult("gzip"))
