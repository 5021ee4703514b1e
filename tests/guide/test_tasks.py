"""Tasks (userguide/tasks)."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from celery import Celery, Task, states
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, WorkerLostError
from celery.worker.request import Request
from pydantic import BaseModel

from tasksim import Simulation


def test_names_are_made_from_the_module_or_given(app: Celery) -> None:
    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="sum-of-two-numbers", shared=False)
    def add_2(x: int, y: int) -> int:
        return x + y

    with Simulation(app) as sim:
        results = [add.delay(1, 2), add_2.delay(1, 2)]
        assert [one.get() for one in results] == [3, 3]
        assert [one.task for one in sim.trace.attempts] == [f"{__name__}.add", "sum-of-two-numbers"]


def test_gen_task_name_changes_the_automatic_naming(broker: str) -> None:
    class MyCelery(Celery):
        def gen_task_name(self, name: str, module: str) -> str:
            if module.endswith(".test_tasks"):
                module = module[: -len(".test_tasks")]
            return super().gen_task_name(name, module)

    app = MyCelery("main", broker=broker, backend="redis://")

    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    with Simulation(app):
        assert add.name == "tests.guide.add"
        assert app.send_task("tests.guide.add", (1, 2)).get() == 3


def test_a_bound_task_sees_its_whole_request(app: Celery) -> None:
    @app.task(bind=True, shared=False)
    def dump_context(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: getattr(self.request, name)
            for name in (
                "id", "group", "chord", "correlation_id", "args", "kwargs", "origin", "retries", "is_eager", "eta",
                "expires", "hostname", "called_directly", "timelimit", "callbacks", "errbacks", "utc", "headers",
                "reply_to", "root_id", "parent_id", "chain", "properties", "replaced_task_nesting", "delivery_info",
            )
        }  # fmt: skip
        return found

    with Simulation(app) as sim:
        result = dump_context.apply_async(
            (1,), {"key": "value"}, expires=120, soft_time_limit=20, time_limit=30, headers={"tenant": "shop"}
        )
        seen = result.get()
        assert (seen["id"], seen["root_id"], seen["parent_id"]) == (result.id, result.id, None)
        assert (seen["args"], seen["kwargs"]) == ([1], {"key": "value"})
        assert seen["origin"].startswith(f"gen{sim.current_process.pid}@")
        assert (seen["retries"], seen["is_eager"], seen["called_directly"]) == (0, False, False)
        assert (seen["hostname"], seen["timelimit"]) == ("w1@sim", [30, 20])
        assert seen["expires"] == "2026-01-01T12:02:00+00:00"
        assert seen["delivery_info"]["routing_key"] == "celery"
        assert seen["headers"] == {"tenant": "shop"}
        assert seen["correlation_id"] == result.id
    assert dump_context("direct")["called_directly"] is True


def test_tasks_inherit_from_a_base_of_ones_own(broker: str) -> None:
    class MyTask(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return ["called", self.run(*args, **kwargs)]

    app = Celery("proj", broker=broker, backend="redis://", task_cls=MyTask)

    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(base=Task, shared=False)
    def plain(x: int, y: int) -> int:
        return x + y

    with Simulation(app):
        assert (add.delay(1, 2).get(), plain.delay(1, 2).get()) == (["called", 3], 3)


def test_a_class_based_task_is_instantiated_once_per_process(app: Celery) -> None:
    class NaiveAuthenticateServer(Task):
        name = "authenticate"

        def __init__(self) -> None:
            self.users = {"george": "password"}
            self.calls = 0

        def run(self, username: str, password: str) -> Any:
            self.calls += 1
            try:
                return self.users[username] == password, self.calls
            except KeyError:
                return False, self.calls

    task = app.register_task(NaiveAuthenticateServer())
    with Simulation(app, workers=2, concurrency=1) as sim:
        results = [task.delay("george", "password") for _ in range(4)]
        answers = [one.get() for one in results]
        by_process: dict[str, list[Any]] = {}
        for one, answer in zip(results, answers, strict=True):
            by_process.setdefault(sim.trace.of(one).attempts[0].process, []).append(answer)
    assert by_process == {"w1/1": [[True, 1], [True, 2]], "w2/1": [[True, 1], [True, 2]]}
    assert task.calls == 0


class DatabaseTask(Task):
    """The guide's: one connection for each process."""

    _db: Any = None
    opened = 0

    @property
    def db(self) -> Any:
        if self._db is None:
            DatabaseTask.opened += 1
            self._db = object()
        return self._db


def test_a_base_keeps_one_connection_for_each_process(app: Celery) -> None:
    DatabaseTask.opened = 0

    @app.task(base=DatabaseTask, bind=True, shared=False)
    def process_rows(self: Any) -> bool:
        return self.db is self.db

    with Simulation(app, workers=2, concurrency=1) as sim:
        for _ in range(6):
            process_rows.delay()
        sim.run()
    assert DatabaseTask.opened == 2


def test_options_of_the_decorator_are_attributes_that_hold(app: Celery) -> None:
    @app.task(
        shared=False, name="tasks.opt", max_retries=1, default_retry_delay=7, rate_limit="30/m", time_limit=90,
        soft_time_limit=60, ignore_result=False, store_errors_even_if_ignored=True, serializer="pickle",
        compression="gzip", acks_late=True, track_started=True, expires=1000,
    )  # fmt: skip
    def opt(fail: bool) -> dict[str, Any]:
        if fail:
            raise opt.retry(exc=KeyError("x"))
        return {"time": time.time()}

    app.conf.accept_content = ["json", "pickle"]
    with Simulation(app, concurrency=1) as sim:
        result = opt.delay(True)
        with pytest.raises(KeyError):
            result.get()
        assert sim.trace.of(result).delays == pytest.approx([7], abs=0.1)
        assert "STARTED" in sim.trace.of(result).states
        assert "tasks.opt [rate_limit=30/m]" in app.control.inspect().registered("rate_limit")["w1@sim"]


def test_typing_checks_arguments_where_the_task_is_called(app: Celery) -> None:
    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(typing=False, shared=False)
    def loose(x: int, y: int) -> int:
        return x + y

    with Simulation(app):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
            add.delay(8)
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
            loose.delay(8).get()  # the worker's


def test_argsrepr_hides_what_is_sensitive(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []
    app.conf.worker_send_task_events = True

    @app.task(shared=False, name="charge")
    def charge(account: str, card: str = "") -> None: ...

    def watch() -> None:
        with app.connection() as connection:
            app.events.Receiver(connection, handlers={"task-received": seen.append}).capture(limit=None)

    with Simulation(app) as sim:
        sim.run_in(watch)
        sim.advance(0.5)
        charge.apply_async(("a",), {"card": "1234"}, argsrepr="(<account>)", kwargsrepr="{'card': '**34'}")
        sim.advance(1)
    assert [(one["args"], one["kwargs"]) for one in seen] == [("(<account>)", "{'card': '**34'}")]


class Hooked(Task):
    """Notes the calls of its hooks."""

    seen: list[Any]

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.seen.append(("before_start", args))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.seen.append(("on_success", retval))

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.seen.append(("on_retry", str(exc)))

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.seen.append(("on_failure", repr(exc)))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.seen.append(("after_return", status))


def test_handlers(app: Celery) -> None:
    seen: list[Any] = []

    @app.task(base=Hooked, bind=True, max_retries=1, shared=False)
    def work(self: Any, fails: bool) -> str:
        if fails:
            raise self.retry(exc=ValueError("no"), countdown=1)
        return "done"

    Hooked.seen = seen
    with Simulation(app, cells=[], concurrency=1) as sim:
        work.delay(False)
        sim.run()
        assert seen == [("before_start", [False]), ("on_success", "done"), ("after_return", "SUCCESS")]
        seen.clear()
        work.delay(True)
        sim.run()
        assert seen == [
            ("before_start", [True]),
            ("on_retry", "no"),
            ("before_start", [True]),
            ("on_failure", "ValueError('no')"),
            ("after_return", "FAILURE"),
        ]


def test_throws_is_an_expected_error_and_logged_without_traceback(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(throws=(KeyError,), shared=False)
    def get_user() -> None:
        raise KeyError("nobody")

    with caplog.at_level("INFO", logger="celery.app.trace"), Simulation(app) as sim:
        result = get_user.delay()
        sim.run()
        assert isinstance(result.get(propagate=False), KeyError)
    [record] = [one for one in caplog.records if "raised expected" in one.message]
    assert (record.levelname, record.exc_info) == ("INFO", None)


def test_ignore_leaves_the_state_that_the_task_has_set(app: Celery) -> None:
    @app.task(bind=True, shared=False)
    def some_task(self: Any) -> None:
        self.update_state(state=states.FAILURE, meta={"exc_type": "ValueError", "exc_message": "x", "custom": "..."})
        raise Ignore()

    with Simulation(app) as sim:
        result = some_task.delay()
        sim.run()
        assert result.state == "FAILURE"
        assert sim.trace.of(result).attempts[0].state == "IGNORED"


def test_reject_requeues_or_drops(app: Celery) -> None:
    @app.task(bind=True, acks_late=True, shared=False)
    def requeues(self: Any) -> str:
        if not self.request.delivery_info["redelivered"]:
            raise Reject("no reason", requeue=True)
        return "done"

    @app.task(bind=True, acks_late=True, shared=False)
    def render_scene(self: Any) -> None:
        raise Reject("out of memory", requeue=False)

    with Simulation(app) as sim:
        again, gone = requeues.delay(), render_scene.delay()
        sim.run()
        assert [one.state for one in sim.trace.of(again).attempts] == ["REJECTED", "SUCCESS"]
        assert [one.state for one in sim.trace.of(gone).attempts] == ["REJECTED"]
        assert not any(one.ready or one.unacked for one in sim.queues.values())


def test_retry_is_raised_and_what_follows_is_not_reached(app: Celery) -> None:
    reached = []

    @app.task(bind=True, shared=False)
    def tweet(self: Any) -> int:
        if self.request.retries == 0:
            try:
                self.retry(countdown=60)
            except Retry as exc:
                reached.append(exc.humanize())
                raise
            reached.append("never")
        return self.request.retries

    with Simulation(app) as sim:
        assert tweet.delay().get() == 1
        assert sim.now == pytest.approx(60, abs=1)
    assert reached == ["in 60s"]


def test_retry_with_changed_arguments_and_a_limit_of_its_own_starts_to_count_from_its_request(app: Celery) -> None:
    @app.task(bind=True, max_retries=5, shared=False)
    def fetch(self: Any, page: int) -> int:
        if page < 3:
            raise self.retry(args=(page + 1,), countdown=1)
        return self.request.retries

    @app.task(bind=True, max_retries=1, shared=False)
    def stubborn(self: Any, limit: Any) -> None:
        # the pitfall: the limit of the call holds for this retry only, and retries count on
        raise self.retry(max_retries=limit, countdown=1)

    with Simulation(app) as sim:
        result = fetch.delay(1)
        assert result.get() == 2
        assert len(sim.trace.of(result).attempts) == 3
        with pytest.raises(MaxRetriesExceededError):
            stubborn.delay(3).get()
        assert len(sim.trace.of(stubborn).attempts) == 4


def test_automatic_retry_for_known_exceptions(app: Celery) -> None:
    @app.task(
        bind=True, autoretry_for=(ConnectionError,), dont_autoretry_for=(ConnectionRefusedError,),
        retry_kwargs={"max_retries": 2}, retry_backoff=2, retry_jitter=False, shared=False,
    )  # fmt: skip
    def refresh(self: Any, error: str) -> None:
        raise {"reset": ConnectionResetError, "refused": ConnectionRefusedError}[error]("no")

    with Simulation(app) as sim:
        reset, refused = refresh.delay("reset"), refresh.delay("refused")
        sim.run()
        assert sim.trace.of(reset).delays == pytest.approx([2, 4], abs=0.1)
        assert len(sim.trace.of(refused).attempts) == 1


def test_custom_states(app: Celery) -> None:
    @app.task(bind=True, shared=False)
    def upload_files(self: Any, filenames: list[str]) -> int:
        for i, _ in enumerate(filenames):
            if not self.request.called_directly:
                self.update_state(state="PROGRESS", meta={"current": i, "total": len(filenames)})
            time.sleep(10)
        return len(filenames)

    with Simulation(app) as sim:
        result = upload_files.delay(["a", "b"])
        sim.advance(15)
        assert (result.state, result.info) == ("PROGRESS", {"current": 1, "total": 2})
        assert result.get() == 2
        assert sim.trace.of(result).states == ["PROGRESS", "PROGRESS", "SUCCESS"]


class Unpicklable(Exception):
    """An exception with an argument that no serializer takes."""

    def __init__(self, what: str) -> None:
        super().__init__(what, lambda: None)


class HttpError(Exception):
    """The guide's bad example: its `args` are not those of its constructor."""

    def __init__(self, status_code: int, headers: Any = None, body: Any = None) -> None:
        self.status_code = status_code
        super().__init__()


def test_exceptions_that_cannot_be_pickled_come_as_what_can(app: Celery) -> None:
    @app.task(shared=False)
    def fail(kind: str) -> None:
        raise Unpicklable("lambda") if kind == "lambda" else HttpError(404)

    with Simulation(app) as sim:
        results = [fail.delay("lambda"), fail.delay("http")]
        sim.run()
        assert [one.state for one in results] == ["FAILURE", "FAILURE"]
        for one, name in zip(results, ("Unpicklable", "HttpError"), strict=True):
            error = one.get(propagate=False)
            assert name in type(error).__name__ + repr(error)


def test_sys_exit_in_a_task_ends_its_process(app: Celery) -> None:
    @app.task(shared=False)
    def leave() -> None:
        sys.exit(3)

    with Simulation(app, concurrency=1) as sim:
        result = leave.delay()
        sim.run()
        with pytest.raises(WorkerLostError):
            result.get()
        sim.advance(6)
        assert [one.exitcode for one in sim.trace.where("ProcessEnded")] == [3]
        assert len(sim.workers["w1"].children) == 1  # a new one


class ArgModel(BaseModel):
    value: int


class ReturnModel(BaseModel):
    value: str


def test_pydantic_validates_arguments_and_dumps_the_result(app: Celery) -> None:
    @app.task(pydantic=True, shared=False)
    def x(arg: ArgModel) -> ReturnModel:
        assert isinstance(arg, ArgModel)
        return ReturnModel(value=f"example: {arg.value}")

    @app.task(pydantic=True, pydantic_strict=True, shared=False)
    def strict(arg: ArgModel) -> ReturnModel:
        return ReturnModel(value=str(arg.value))

    with Simulation(app):
        assert x.delay({"value": 1}).get() == {"value": "example: 1"}
        with pytest.raises(Exception, match="ValidationError"):
            x.delay({"value": "one"}).get()
        assert strict.delay({"value": 2}).get() == {"value": "2"}


def test_a_custom_request_hears_of_failures_and_time_outs_in_the_main_process(app: Celery) -> None:
    heard: list[Any] = []

    class MyRequest(Request):
        def on_timeout(self, soft: bool, timeout: float) -> None:
            super().on_timeout(soft, timeout)
            heard.append(("soft" if soft else "hard", sim.current_process.name))

    class MyTask(Task):
        Request = MyRequest

    @app.task(base=MyTask, soft_time_limit=5, time_limit=10, shared=False)
    def hang() -> None:
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue

    with Simulation(app, concurrency=1) as sim:
        hang.delay()
        sim.run()
    assert heard == [("soft", "w1"), ("hard", "w1")]


def test_ignore_result_and_store_errors_even_if_ignored(app: Celery) -> None:
    @app.task(ignore_result=True, shared=False)
    def quiet() -> str:
        return "unheard"

    @app.task(ignore_result=True, store_errors_even_if_ignored=True, shared=False)
    def loud() -> None:
        raise KeyError("heard")

    with Simulation(app) as sim:
        ok, bad = quiet.delay(), loud.delay()
        sim.run()
        assert (ok.state, bad.state) == ("PENDING", "FAILURE")
