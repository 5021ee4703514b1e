"""Results that JSON cannot hold, exceptions of their own making, large ones, and what get() and state say."""
import decimal
from datetime import datetime, timezone

import probe
from base import HookedTask, celery_app, watch_runs

BROKERS = ("redis", "amqp")


class Pair(Exception):
    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right


class Unprintable(Exception):
    def __repr__(self):
        raise RuntimeError("no repr")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)
    watch_runs()

    @app.task(name="work", base=HookedTask)
    def work(how):
        probe.log("start")
        if how == "object":
            return object()
        if how == "set":
            return {1}
        if how == "bytes":
            return b"\xff\x00"
        if how == "datetime":
            return datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        if how == "decimal":
            return decimal.Decimal("1.50")
        if how == "tuple":
            return (1, (2, 3))
        if how == "pair":
            raise Pair("a", object)
        if how == "chained":
            try:
                {}["key"]
            except KeyError as exc:
                raise ValueError("outer") from exc
        if how == "bare class":
            raise LookupError
        if how == "keyboard":
            raise KeyboardInterrupt
        if how == "group":
            raise ExceptionGroup("several", [ValueError(1), TypeError(2)])

    return app


def drive(app, ctl):
    ctl.start_worker("w1")
    results = {}
    for how in ("object", "set", "bytes", "datetime", "decimal", "tuple", "pair", "chained", "bare class", "group"):
        results[how] = app.tasks["work"].apply_async((how,), task_id=how)
    ctl.wait("postrun", id="group")
    ctl.sleep(1)
    for how, result in results.items():
        try:
            value = repr(result.get(timeout=1))
        except Exception as exc:
            value = f"raises {type(exc).__name__} {exc.args!r}"
        import re
        ctl.note(how, re.sub(r"0x[0-9a-f]+", "0x", value))
        if how != "object":
            ctl.result(how, result)
