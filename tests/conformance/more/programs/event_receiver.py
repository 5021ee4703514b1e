"""What an event Receiver hears: task events with send_events and task_send_sent_event, and the state of a task."""
import time

import probe
from base import celery_app

BROKERS = ("redis", "amqp")


def make_app(broker_url, backend_url, **over):
    app = celery_app(broker_url, backend_url, over, task_send_sent_event=True, worker_send_task_events=True)

    @app.task(name="work", bind=True)
    def work(self, how):
        probe.log("start")
        time.sleep(0.4)
        if how == "fails":
            raise ValueError("boom")
        if how == "retries" and not self.request.retries:
            raise self.retry(countdown=0.7)
        return how

    return app


def drive(app, ctl):
    ctl.start_worker("w1", prefetch_multiplier=4)
    heard, state = {}, app.events.State()

    def hear(event):
        state.event(event)
        if event["type"].startswith("task-"):
            probe.log("heard", id=event["uuid"], type=event["type"])
            heard.setdefault(event["uuid"], []).append(event["type"])

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": hear})
        with receiver.consumer_context():
            for how in ("works", "fails", "retries"):
                app.tasks["work"].apply_async((how,), task_id=how)
            app.tasks["work"].apply_async(("revoked",), task_id="revoked", countdown=1.2)
            app.control.revoke("revoked")
            end = time.time() + 3
            while time.time() < end:
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    pass
    ctl.note("heard", heard)
    ctl.note("states", {task.uuid: [task.state, task.result, task.exception] for _, task in state.tasks_by_time()})
    ctl.note("workers", sorted(state.workers))
    ctl.sleep(0.5)
