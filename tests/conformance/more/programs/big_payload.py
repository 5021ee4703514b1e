"""300 kB in arguments and in results; many at once; what is there in the end."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over)

    @app.task(name="echo")
    def echo(text, seconds=0):
        probe.log("start", size=len(text))
        time.sleep(seconds)
        return text

    return app


def drive(app, ctl):
    ctl.start_worker("w1", concurrency=2, prefetch_multiplier=4)
    results = [app.tasks["echo"].apply_async(("x" * 300_000, 0.5), task_id=f"big{n}") for n in range(6)]
    ctl.note("sizes", [len(result.get(timeout=15)) for result in results])
    chained = (app.tasks["echo"].s("y" * 200_000) | app.tasks["echo"].s(0.2)).apply_async(task_id="chained")
    ctl.note("chained", len(chained.get(timeout=10)))
    packed = app.tasks["echo"].apply_async(("z" * 300_000,), task_id="packed", compression="gzip")
    ctl.note("packed", len(packed.get(timeout=10)))
    ctl.sleep(0.5)
