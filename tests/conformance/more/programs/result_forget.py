"""forget, a result that expires, GroupResult save, restore, revoke and forget, AsyncResult.revoke, ready and failed."""
import time

from celery import group
from celery.result import GroupResult

import probe
from base import at, celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, result_expires=over.pop("result_expires", 4))

    @app.task(name="work", track_started=True)
    def work(n, seconds=0.3):
        probe.log("start")
        time.sleep(seconds)
        return n

    @app.task(name="bad")
    def bad():
        raise ValueError("boom")

    return app


def drive(app, ctl):
    work = app.tasks["work"]
    ctl.start_worker("w1", prefetch_multiplier=8)
    one = work.apply_async((1,), task_id="one")
    ctl.note("get", one.get(timeout=5))
    one.forget()
    ctl.note("forgotten", [app.AsyncResult("one").state, one.state])
    members = group(work.s(n, 0.4).set(task_id=f"g{n}") for n in range(3))()
    members.save()
    restored = GroupResult.restore(members.id, app=app)
    ctl.note("restored", [child.id for child in restored])
    ctl.note("counts", [members.completed_count(), members.ready(), members.waiting()])
    ctl.note("joined", restored.join(timeout=5))
    ctl.note("after", [members.completed_count(), members.ready(), members.successful(), members.failed()])
    members.delete()
    ctl.note("deleted", GroupResult.restore(members.id, app=app) is None)
    held = group(work.s(n, 1.2).set(task_id=f"r{n}") for n in range(3))()
    ctl.wait("start", id="r0")
    held.revoke()
    ctl.wait("revoked", id="r2")
    ctl.sleep(0.5)
    ctl.note("revoked", [child.state for child in held])
    try:
        held.get(timeout=2)
    except Exception as exc:
        ctl.note("get of revoked", repr(exc))
    single = work.apply_async((5, 8), task_id="single")
    bad = app.tasks["bad"].apply_async(task_id="bad")
    ctl.wait("start", id="single")
    at(ctl, 9.6)
    single.revoke(terminate=True)
    ctl.wait("failure", id="bad", timeout=10)
    ctl.sleep(0.5)
    ctl.note("flags", [[r.ready(), r.successful(), r.failed()] for r in (single, bad)])
    ctl.sleep(5)
    ctl.note("expired", [app.AsyncResult(name).state for name in ("g0", "bad", "single")])
