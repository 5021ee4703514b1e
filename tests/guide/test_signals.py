"""Signals: each is sent where it is for real, in the right process (userguide/signals)."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from celery import Celery, Task, signals
from celery.exceptions import Reject

from tasksim import Simulation

Seen = list[tuple[str, str]]


class Ear:
    """Remembers which signal was heard in which process."""

    def __init__(self) -> None:
        self.sim: Any = None
        self.seen: Seen = []
        self._receivers: list[Any] = []

    def to(self, *found: Any) -> None:
        for one in found:

            def heard(signal: Any, **_: Any) -> None:
                if self.sim is not None:
                    self.seen.append((signal.name, self.sim.current_process.name))

            one.connect(heard, weak=False)

    def take(self) -> Seen:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
def ear() -> Ear:
    return Ear()


TASK_SIGNALS = (
    signals.before_task_publish, signals.after_task_publish, signals.task_sent, signals.task_received,
    signals.task_prerun, signals.task_postrun, signals.task_success, signals.task_failure, signals.task_retry,
    signals.task_revoked, signals.task_internal_error, signals.task_unknown, signals.task_rejected,
)  # fmt: skip


def test_publishing_is_heard_by_the_one_who_publishes(app: Celery, ear: Ear) -> None:
    sent = []

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    @app.task
    def call_add() -> None:
        add.delay(2, 2)

    @signals.after_task_publish.connect(sender="tests.guide.test_signals.add")
    def task_sent_handler(sender: str, headers: Any, body: Any, exchange: str, routing_key: str, **_: Any) -> None:
        # information about task are located in headers for task messages using the task protocol version 2.
        info = headers if "task" in headers else body
        sent.append((info["task"], exchange, routing_key))

    @signals.before_task_publish.connect(sender="tests.guide.test_signals.add")
    def on_before(headers: Any, properties: Any, declare: Any, retry_policy: Any, **_: Any) -> None:
        headers["trace"] = "a-1"  # what goes out can be changed here

    ear.to(signals.before_task_publish, signals.after_task_publish, signals.task_sent)
    with Simulation(app, concurrency=1) as ear.sim:
        add.delay(1, 2).get()
        assert ear.take() == [(name, "client") for name in ("before_task_publish", "after_task_publish", "task_sent")]
        call_add.delay().get()
        ear.sim.run()
        assert {process for name, process in ear.take()[3:]} == {"w1/1"}
    assert sent == [("tests.guide.test_signals.add", "", "celery")] * 2


def test_a_task_that_succeeds(app: Celery, ear: Ear) -> None:
    arguments: dict[str, Any] = {}

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    @signals.task_postrun.connect
    def on_postrun(task_id: str, task: Task, args: Any, kwargs: Any, retval: Any, state: str, **_: Any) -> None:
        arguments.update(id=task_id, task=task.name, args=args, kwargs=kwargs, retval=retval, state=state)

    ear.to(*TASK_SIGNALS)
    with Simulation(app, concurrency=1) as ear.sim:
        result = add.delay(1, y=2)
        ear.sim.run()
        assert ear.take()[3:] == [
            ("task_received", "w1"),
            ("task_prerun", "w1/1"),
            ("task_success", "w1/1"),
            ("task_postrun", "w1/1"),
        ]
    assert arguments == {
        "id": result.id, "task": add.name, "args": [1], "kwargs": {"y": 2}, "retval": 3, "state": "SUCCESS",
    }  # fmt: skip


def test_a_task_that_is_retried_and_fails(app: Celery, ear: Ear) -> None:
    reasons, failures = [], []

    @app.task(bind=True, max_retries=1)
    def fail(self: Any) -> None:
        raise self.retry(exc=KeyError("no"), countdown=5)

    @signals.task_retry.connect(sender=fail)
    def on_retry(sender: Task, request: Any, reason: Any, einfo: Any, **_: Any) -> None:
        reasons.append((request.id, str(reason)))

    @signals.task_failure.connect(sender=fail)
    def on_failure(sender: Task, task_id: str, exception: Exception, einfo: Any, **_: Any) -> None:
        failures.append((task_id, exception.args, "KeyError" in einfo.traceback))

    ear.to(signals.task_retry, signals.task_failure)
    with Simulation(app, concurrency=1) as ear.sim:
        result = fail.delay()
        ear.sim.run()
        assert ear.take() == [("task_retry", "w1/1"), ("task_failure", "w1/1")]
    assert reasons == [(result.id, "Retry in 5s: KeyError('no')")]
    assert failures == [(result.id, ("no",), True)]


def test_a_task_whose_process_dies_fails_in_the_main_process(app: Celery, ear: Ear) -> None:
    @app.task
    def work() -> None:
        ear.sim.kill(task=result)

    ear.to(signals.task_failure)
    with Simulation(app, concurrency=1) as ear.sim:
        result = work.delay()
        ear.sim.run()
        assert ear.take() == [("task_failure", "w1")]


def test_an_error_of_celery_around_a_task_is_internal(app: Celery, ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    class Hooked(Task):
        def on_failure(self, *_: Any) -> None:
            raise RuntimeError("in a hook")

    @app.task(base=Hooked)
    def work() -> None:
        raise KeyError("in the task")

    ear.to(signals.task_internal_error)
    with Simulation(app, concurrency=1) as ear.sim:
        work.delay()
        ear.sim.run()
    assert ["in a hook" in one.getMessage() for one in caplog.records if one.name == "py.warnings"] == [True]
    assert ear.take() == [("task_internal_error", "w1/1")]


def test_tasks_that_are_revoked_or_expire(app: Celery, ear: Ear) -> None:
    found = []

    @app.task
    def work() -> None:
        ear.sim.advance(1)

    @signals.task_revoked.connect
    def on_revoked(request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
        found.append((request.id, terminated, signum and int(signum), expired))

    ear.to(signals.task_revoked)
    with Simulation(app, concurrency=1) as ear.sim:
        revoked = work.apply_async(countdown=10)
        ear.sim.advance(1)
        revoked.revoke()
        expired = work.apply_async(countdown=10, expires=5)
        ear.sim.run()
        assert ear.take() == [("task_revoked", "w1")] * 2
    assert found == [(revoked.id, False, None, False), (expired.id, False, None, True)]


def test_a_running_task_that_is_terminated(app: Celery, ear: Ear) -> None:
    found = []

    @app.task
    def work() -> None:
        time.sleep(60)

    @signals.task_revoked.connect
    def on_revoked(request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
        found.append((terminated, int(signum), expired))

    ear.to(signals.task_revoked)
    with Simulation(app, concurrency=1) as ear.sim:
        result = work.delay()
        ear.sim.advance(1)
        app.control.revoke(result.id, terminate=True, signal="SIGKILL")
        ear.sim.run()
        assert ear.take() == [("task_revoked", "w1")]
    assert found == [(True, 9, False)]


def test_messages_that_are_no_task_of_this_worker(app: Celery, ear: Ear) -> None:
    unknown = []

    @signals.task_unknown.connect
    def on_unknown(sender: Any, name: str, id: str, message: Any, exc: Exception, **_: Any) -> None:  # noqa: A002
        unknown.append((name, id, type(exc).__name__))

    ear.to(signals.task_unknown, signals.task_rejected)
    with Simulation(app, concurrency=1) as ear.sim:
        app.send_task("proj.tasks.of_yesterday", task_id="t-1")
        with app.producer_pool.acquire() as producer:
            producer.publish({"hello": "world"}, routing_key="celery")
        ear.sim.run()
        assert ear.take() == [("task_unknown", "w1"), ("task_rejected", "w1")]
    assert unknown == [("proj.tasks.of_yesterday", "t-1", "KeyError")]


def test_a_task_that_is_rejected_by_itself_is_no_rejected_message(app: Celery, ear: Ear) -> None:
    @app.task(acks_late=True)
    def work() -> None:
        raise Reject("not mine", requeue=False)

    ear.to(signals.task_rejected, signals.task_postrun)
    with Simulation(app, concurrency=1) as ear.sim:
        work.delay()
        ear.sim.run()
    assert ear.take() == [("task_postrun", "w1/1")]


def test_the_life_of_a_worker(app: Celery, ear: Ear) -> None:
    ear.to(
        signals.import_modules, signals.celeryd_init, signals.celeryd_after_setup, signals.worker_init,
        signals.worker_before_create_process, signals.worker_process_init, signals.worker_ready,
        signals.worker_shutting_down, signals.worker_process_shutdown, signals.worker_shutdown,
    )  # fmt: skip
    with Simulation(app, workers=0) as ear.sim:
        ear.sim.start_worker("w1", concurrency=1, wait=True)
        assert ear.take() == [
            ("import_modules", "w1"),
            ("celeryd_init", "w1"),
            ("worker_init", "w1"),
            ("celeryd_after_setup", "w1"),
            ("worker_before_create_process", "w1"),
            ("worker_process_init", "w1/1"),
            ("worker_ready", "w1"),
        ]
        ear.sim.stop(worker="w1")
        ear.sim.run()
        assert ear.take() == [
            ("worker_shutting_down", "w1"),
            ("worker_process_shutdown", "w1/1"),
            ("worker_shutdown", "w1"),
        ]


def test_celeryd_init_configures_one_worker(app: Celery) -> None:
    @app.task
    def work() -> None:
        pass

    @signals.celeryd_init.connect(sender="w2@sim")
    def configure_w2(conf: Any, **_: Any) -> None:
        conf.task_default_rate_limit = "10/m"

    with Simulation(app, workers=2):
        limits = {
            name: conf["task_default_rate_limit"]
            for name, conf in app.control.inspect().conf(with_defaults=True).items()
        }
    assert limits == {"w1@sim": None, "w2@sim": "10/m"}
    assert app.conf.task_default_rate_limit is None


def test_celeryd_after_setup_adds_a_queue_with_the_workers_name(app: Celery) -> None:
    @app.task
    def work() -> None:
        pass

    @signals.celeryd_after_setup.connect
    def setup_direct_queue(sender: str, instance: Any, **_: Any) -> None:
        instance.app.amqp.queues.select_add(f"{sender}.dq")  # sender is the nodename of the worker

    with Simulation(app, workers=2) as sim:
        result = work.apply_async(queue="w2@sim.dq")
        sim.run()
        assert [one.worker for one in sim.trace.of(result).attempts] == ["w2"]


def test_the_exit_code_of_a_pool_process_and_how_a_worker_stops(app: Celery) -> None:
    heard = []

    @signals.worker_process_shutdown.connect
    def on_process(pid: int, exitcode: int, **_: Any) -> None:
        heard.append((pid == sim.current_process.pid, exitcode))

    @signals.worker_shutting_down.connect
    def on_stop(sender: str, sig: str, how: str, exitcode: int, **_: Any) -> None:
        heard.append((sender, sig, how, exitcode))

    with Simulation(app, concurrency=1) as sim:
        sim.run()
        sim.stop(worker="w1")
        sim.run()
    assert heard == [("w1@sim", "SIGTERM", "Warm", 0), (True, 0)]


def test_heartbeats(app: Celery, ear: Ear) -> None:
    ear.to(signals.heartbeat_sent)
    with Simulation(app, concurrency=1) as ear.sim:
        ear.sim.advance(0)
        ear.take()
        ear.sim.advance(10)
    assert ear.take() == [("heartbeat_sent", "w1")] * 5  # each two seconds


@pytest.mark.parametrize("embedded", [False, True], ids=["celery beat", "celery worker -B"])
def test_beat(app: Celery, ear: Ear, embedded: bool) -> None:
    ear.to(signals.beat_init, signals.beat_embedded_init)
    workers = {"w1": {"beat": True}} if embedded else 1
    with Simulation(app, workers=workers, concurrency=1, beat=not embedded) as ear.sim:
        ear.sim.advance(1)
    beats = [("beat_init", "w1/2"), ("beat_embedded_init", "w1/2")] if embedded else [("beat_init", "beat")]
    assert ear.take() == beats


def test_user_preload_options(app: Celery) -> None:
    from click import Option

    templates = []
    app.user_options["preload"].add(Option(("-Z", "--template"), default="default"))

    @signals.user_preload_options.connect
    def on_preload_parsed(options: Any, **_: Any) -> None:
        templates.append(options["template"])

    with Simulation(app):
        app.start(argv=["status", "-Z", "fancy"])
        app.start(argv=["status"])
    assert templates == ["fancy", "default"]


class TestLogging:
    """The set-up of logging, which leaves the test's handlers alone: see also test_logging.py."""

    def test_setup_logging_replaces_celerys_own(self, app: Celery, ear: Ear) -> None:
        given: dict[str, Any] = {}

        @signals.setup_logging.connect
        def on_setup(loglevel: int, logfile: Any, format: str, colorize: Any, **_: Any) -> None:  # noqa: A002
            given.update(loglevel=loglevel, logfile=logfile)

        ear.to(signals.setup_logging, signals.after_setup_logger, signals.after_setup_task_logger)
        with Simulation(app, workers=2, beat=True) as ear.sim:
            ear.sim.advance(0)
        assert sorted(ear.take()) == [("setup_logging", name) for name in ("beat", "w1", "w2")]
        assert given == {"loglevel": logging.INFO, "logfile": None}

    def test_celerys_own_is_followed_by_two_signals(self, app: Celery, ear: Ear) -> None:
        ear.to(signals.after_setup_logger, signals.after_setup_task_logger)
        with Simulation(app) as ear.sim:
            ear.sim.advance(0)
        assert ear.take() == [("after_setup_logger", "w1"), ("after_setup_task_logger", "w1")]
