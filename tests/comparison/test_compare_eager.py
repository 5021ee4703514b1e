"""The comparison lists what Celery's eager mode had hidden: each kind by a small app that has just this."""

from __future__ import annotations

import contextlib
import contextvars
import decimal
import os
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, signals
from celery.exceptions import Reject

from tasksim import Hidden, Simulation, Spinning, UsageError, compare_eager
from tasksim.comparison.hidden import KINDS

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
request_of = threading.local()
counted = 0
cache: dict[str, int] = {}


def make_app(**settings: Any) -> Celery:
    app = Celery("compared", broker="amqp://", backend="redis://", set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, **settings)
    return app


def task(app: Celery, function: Callable[..., Any], **options: Any) -> Any:
    return app.task(name=function.__name__, shared=False, **options)(function)


def compare(app: Celery, function: Callable[[], Any], **options: Any) -> dict[str, list[Hidden]]:
    found: dict[str, list[Hidden]] = {}
    for hidden in compare_eager(app, function, **options):
        found.setdefault(hidden.kind, []).append(hidden)
    return found


def only(found: dict[str, list[Hidden]], kind: str) -> str:
    """The one sentence of a comparison that found this kind and no other."""
    assert list(found) == [kind], [str(hidden) for one in found.values() for hidden in one]
    assert len(found[kind]) == 1
    return str(found[kind][0])


def add(a: int, b: int) -> int:
    return a + b


def test_where_eager_mode_hides_nothing_nothing_is_found() -> None:
    app = make_app()
    work = task(app, add)
    assert compare_eager(app, lambda: work.delay(1, 2).get()) == []


def test_each_half_runs_the_tasks_and_the_app_is_as_before() -> None:
    app, seen = make_app(task_always_eager=True), []

    def note(self: Any) -> None:
        seen.append(self.request.id is not None and self.request.called_directly)

    work = task(app, note, bind=True)
    assert compare_eager(app, work.delay) == []
    assert len(seen) == 2
    assert app.conf.task_always_eager is True
    assert signals.task_prerun.receivers == []


def test_a_result_that_changes_on_its_way() -> None:
    app = make_app()

    def pair() -> Any:
        return {"pair": (1, 2)}

    said = only(compare(app, task(app, pair).delay), "serialization")
    assert said == (
        "serialization: pair(): the result['pair'] is the tuple (1, 2) in eager mode and the list [1, 2] in a worker"
    )


def test_a_result_that_cannot_be_serialized() -> None:
    app = make_app()

    def thing() -> Any:
        return object()

    assert "EncodeError" in only(compare(app, task(app, thing).delay), "not_serializable")


def test_keys_of_a_dictionary_and_arguments_within_a_canvas() -> None:
    app = make_app()

    def keys(previous: Any) -> None:
        """Takes what the first has made."""

    def made() -> Any:
        return {1: "a"}

    first, second = task(app, made), task(app, keys)
    found = compare(app, lambda: chain(first.s(), second.s()).delay().get())
    said = [str(one) for one in found.pop("serialization")]
    assert not found
    assert any("args[0] is {1: 'a'} in eager mode and {'1': 'a'} in a worker" in one for one in said)


def test_arguments_that_the_task_changes() -> None:
    app = make_app()

    def fill(basket: list[int]) -> int:
        basket.append(1)
        return len(basket)

    work = task(app, fill)

    def function() -> None:
        basket: list[int] = []
        chain(work.s(basket), work.si([])).delay()

    found = compare(app, function)
    assert str(found.pop("mutated")[0]) == (
        "mutated: chain fill([]) | fill([]): the task changes the caller's arguments in eager mode, "
        "from [([],), {}, ([],), {}] to [([1],), {}, ([1],), {}]; a worker changes its own copy"
    )
    assert not found


@pytest.mark.parametrize("propagates", [True, False])
def test_an_exception_that_comes_out_of_the_call(propagates: bool) -> None:
    app = make_app(task_eager_propagates=propagates)

    def broken() -> None:
        raise ValueError("broken")

    work = task(app, broken)

    def function() -> None:
        with contextlib.suppress(ValueError):
            work.delay()

    found = compare(app, function)
    assert list(found) == (["raised"] if propagates else [])
    if propagates:
        assert "the call raises ValueError: 'broken' in eager mode" in only(found, "raised")


def test_a_function_that_ends_otherwise() -> None:
    app = make_app()

    def asks() -> str:
        if tenant.get("nobody") == "nobody":
            raise ValueError("no tenant")
        return tenant.get()

    work = task(app, asks)

    def function() -> None:
        tenant.set("acme")
        assert work.delay().get() == "acme"

    found = compare(app, function)
    assert "ends well in eager mode and ends with ValueError: 'no tenant'" in str(found["function"][0])
    assert "succeeds in eager mode; a worker ends it with ValueError: no tenant" in str(found["outcome"][0])


def test_retries_that_ran_at_once() -> None:
    app = make_app()

    def flaky(self: Any) -> None:
        if self.request.retries < 3:
            raise ConnectionError

    work = task(
        app, flaky, bind=True, autoretry_for=(ConnectionError,), retry_backoff=1, retry_jitter=False, max_retries=3
    )
    assert only(compare(app, work.delay), "retry_delay").endswith(
        "was tried 4 times at one moment in eager mode; a worker waits 1, 2, 4 s"
    )


def test_a_countdown() -> None:
    app = make_app()
    work = task(app, add)
    said = only(compare(app, lambda: work.apply_async((1, 2), countdown=60)), "countdown")
    assert said.endswith("a worker waits 60 s for its ETA")


def test_expires() -> None:
    app = make_app()
    work = task(app, add)
    found = compare(app, lambda: work.apply_async((1, 2), countdown=60, expires=30))
    assert "in life it expires" in str(found["expires"][0])


def test_a_task_sent_by_name_and_one_that_no_worker_knows() -> None:
    app = make_app()
    task(app, add)
    with pytest.warns(match="task_always_eager has no effect on send_task"):
        found = compare(app, lambda: [app.send_task("add", (1, 2)), app.send_task("ad", (1, 2))])
    assert [one.task for one in found["never_run"]] == ["add"]
    assert [one.task for one in found["unknown_task"]] == ["ad"]


def test_a_queue_from_which_nobody_takes() -> None:
    app = make_app(task_routes={"add": {"queue": "reports"}}, task_create_missing_queues=True)
    work = task(app, add)
    found = compare(app, lambda: work.delay(1, 2), workers={"w1": {"queues": ["celery"]}})
    assert "waits in queue 'reports', from which no worker takes" in only(found, "no_consumer")


def test_an_ignored_result() -> None:
    app = make_app()
    work = task(app, add, ignore_result=True)
    assert "the result 3 is there in eager mode" in only(compare(app, lambda: work.delay(1, 2)), "ignored_result")


def test_a_task_whose_process_dies() -> None:
    app = make_app(task_acks_late=True, task_reject_on_worker_lost=True)
    eager_pid, runs = os.getpid(), []

    def crash() -> None:
        runs.append(os.getpid())
        if os.getpid() != eager_pid and len(runs) == 2:
            os._exit(1)

    found = compare(app, task(app, crash).delay)
    assert "its process died 1 times while it ran, and it was delivered again 1 times" in only(found, "redelivery")


@pytest.mark.parametrize("limit", [{"time_limit": 2}, {"soft_time_limit": 2}])
def test_time_limits(limit: dict[str, int]) -> None:
    app = make_app()

    def slow() -> None:
        time.sleep(10)

    assert "TimeLimitExceeded" in only(compare(app, task(app, slow, **limit).delay), "time_limit")


def test_a_rate_limit() -> None:
    app = make_app()
    work = task(app, add, rate_limit="6/m")

    def function() -> None:
        for number in range(2):
            work.delay(number, 1)

    assert "its rate limit 6/m holds it back for 10 s" in only(compare(app, function), "rate_limit")


def test_a_task_that_a_task_calls() -> None:
    app = make_app()

    def outer() -> None:
        inner.delay(1, 2)

    inner = task(app, add)
    said = only(compare(app, task(app, outer).delay), "nested")
    assert said.startswith("nested: add(1, 2): runs within outer in eager mode")


def test_what_a_task_reads_of_its_request() -> None:
    app = make_app()

    def looks(self: Any) -> None:
        if not self.request.is_eager:
            assert self.request.hostname

    assert "it reads request.is_eager: True in eager mode, False in a worker" in only(
        compare(app, task(app, looks, bind=True).delay), "request"
    )


def test_context_variables_of_the_caller() -> None:
    app = make_app()

    def reads() -> str:
        return tenant.get("nobody")

    work = task(app, reads)

    def function() -> None:
        tenant.set("acme")
        work.delay()

    found = compare(app, function)
    assert "context variable tenant of the caller is 'acme' for the task in eager mode, and nothing in a worker" in str(
        found["context"][0]
    )
    assert "'acme' in eager mode and 'nobody' in a worker" in str(found["serialization"][0])


def test_thread_locals_of_the_caller() -> None:
    app = make_app()

    def reads() -> None:
        getattr(request_of, "user", None)

    work = task(app, reads)

    def function() -> None:
        request_of.user = "ann"
        work.delay()
        del request_of.user

    assert only(compare(app, function), "context") == (
        f"context: reads(): thread-local {__name__}.request_of.user of the caller is 'ann' for the task in eager mode, "
        "and nothing in a worker"
    )


def test_globals_that_the_task_changes() -> None:
    app = make_app()

    def counts() -> None:
        global counted
        counted += 1
        cache["count"] = counted

    found = compare(app, task(app, counts).delay)
    assert sorted(one.sentence.split()[2] for one in found.pop("process_state")) == [
        f"{__name__}.cache", f"{__name__}.counted",
    ]  # fmt: skip
    assert not found


def test_signals_that_eager_mode_never_sends() -> None:
    app = make_app()
    work = task(app, add)

    def publishes(**_: Any) -> None:
        """A receiver."""

    def runs(**_: Any) -> None:
        """One of a signal that eager mode sends."""

    signals.before_task_publish.connect(publishes)
    signals.task_prerun.connect(runs)
    try:
        found = compare(app, lambda: work.delay(1, 2))
    finally:
        signals.before_task_publish.disconnect(publishes)
        signals.task_prerun.disconnect(runs)
    assert "before_task_publish has receivers: sent 1 times" in only(found, "signal")


def test_a_large_message() -> None:
    app = make_app()

    def size(text: str) -> int:
        return len(text)

    work = task(app, size)
    assert "its message has 0.2 MB" in only(compare(app, lambda: work.delay("x" * 200_000)), "message_size")


def test_each_kind_has_a_test_here_or_in_the_tests_of_django() -> None:
    here = Path(__file__)
    files = here, here.parents[1] / "apps" / "django_site" / "check_notes.py"
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        compare_eager(make_app(), 5)  # type: ignore[arg-type]


def test_what_runs_nothing_or_fails_before_its_first_call_is_refused() -> None:
    async def later() -> None: ...

    def broken() -> None:
        raise NameError("oredr")

    app = make_app()
    with pytest.raises(UsageError, match="runs nothing of it"):
        compare_eager(app, later)
    with pytest.raises(UsageError, match="no call before NameError"):
        compare_eager(app, broken)
    with pytest.raises(UsageError, match="there is no end"):
        compare_eager(app, lambda: None, beat=True)


def test_a_call_in_the_caller_itself_is_one_in_life_too() -> None:
    app = make_app()
    work = task(app, add)
    assert compare_eager(app, lambda: work.apply((1, 2)).get()) == []


def test_a_comparison_that_ends_with_an_error_leaves_nothing_behind() -> None:
    app = make_app()

    def loop(self: Any) -> None:
        if not self.request.is_eager:
            raise Reject(requeue=True)

    work = task(app, loop, bind=True, acks_late=True)
    with pytest.raises(Spinning):
        compare_eager(app, work.delay)
    other = make_app()
    again = task(other, add)
    with Simulation(other):
        assert again.delay(1, 2).get() == 3


def test_a_caller_that_has_computed_with_decimals_hides_nothing_from_its_task() -> None:
    app = make_app()

    def doubles(price: str) -> str:
        return str(Decimal(price) * 2)

    work = task(app, doubles)

    def function() -> str:
        result: str = work.delay(str(Decimal("1.1") + 1)).get()
        return result

    assert compare(app, function) == {}

    def precisely() -> None:
        with decimal.localcontext(prec=5):
            work.delay("1.1").get()

    assert "decimal_context" in str(compare(app, precisely)["context"][0])
