"""Assertions on what was published: found whoever sent it and however, and when not, what was sent instead is told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import ANY

import pytest
from celery import Celery, chain, chord, group
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import Exchange, Queue
from kombu.common import Broadcast
from kombu.serialization import disable_insecure_serializers, enable_insecure_serializers

from tasksim import Simulation, UsageError
from tests.scene import AMQP, BROKERS


@pytest.fixture
def shop(app: Celery) -> Celery:
    @app.task(name="shop.charge", bind=True, max_retries=3, shared=False)
    def charge(self: Any, order: int, currency: str = "EUR") -> int:
        if currency == "XXX" and not self.request.retries:
            raise self.retry(countdown=30)
        return order

    @app.task(name="shop.refund", shared=False)
    def refund(order: int) -> int:
        return order

    @app.task(name="shop.checkout", shared=False)
    def checkout(order: int) -> None:
        charge.apply_async((order,), queue="payments")

    return app


def nothing() -> None:
    pass


def failure(function: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("latency", [0, 0.01])
def test_a_call_is_found_by_each_thing_that_was_said_before_any_worker_runs(
    shop: Celery, protocol: int, latency: float
) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0, settings={"task_protocol": protocol}) as sim:
        sim.latency = latency
        result = charge.apply_async(
            (7,), {"currency": "USD"}, queue="payments", countdown=60, expires=timedelta(seconds=100).total_seconds(),
            priority=3, headers={"tenant": "a"},
        )  # fmt: skip
        conditions = {
            "args": (7,), "kwargs": {"currency": "USD"}, "queue": "payments", "countdown": 60, "expires": 100,
            "eta": datetime(2026, 1, 1, 12, 1, tzinfo=UTC), "priority": 3, "headers": {"tenant": "a"}, "retries": 0,
            "by": "client",
        }  # fmt: skip
        (one,) = sim.assert_published(charge, times=1, **conditions)
        assert (one.task, one.id, one.args, one.kwargs) == ("shop.charge", result.id, (7,), {"currency": "USD"})
        assert one.queues == ("payments",)
        for name, value in conditions.items():
            sim.assert_published(result, **{name: value})
        wrong = {
            "args": (8,), "kwargs": {}, "queue": "celery", "countdown": 62, "expires": 98, "priority": 4, "retries": 1,
            "eta": datetime(2026, 1, 1, 12, 2, tzinfo=UTC), "headers": {"tenant": "b"}, "by": "w1",
        }  # fmt: skip
        for name, value in wrong.items():
            sim.assert_not_published(charge, **{**conditions, name: value})
            assert f"{name}" in failure(sim.assert_published, charge, **{**conditions, name: value})


def test_what_was_published_instead_is_told_nearest_first(shop: Celery) -> None:
    charge, refund = shop.tasks["shop.charge"], shop.tasks["shop.refund"]
    with Simulation(shop, workers=0) as sim:
        refund.delay(7)
        charge.apply_async(({"id": 7, "lines": [1, 2]},), task_id="pay-2", queue="slow", countdown=30)
        charge.apply_async(({"id": 8, "lines": [1, 2]},), task_id="pay-1", countdown=10)
        told = failure(sim.assert_published, charge, args=[{"id": 8, "lines": [1, 3]}], queue="celery", countdown=10)
    assert told.splitlines() == [
        "shop.charge with args=[{'id': 8, 'lines': [1, 3]}], queue='celery', countdown=10 was not published",
        "what was published instead, the nearest first:",
        "  shop.charge({'id': 8, 'lines': [1, 2]}), to celery, at 0 s by client, countdown 10 s [pay-1]",
        "      args[0]['lines'][1]: 2, wanted 3",
        "  shop.charge({'id': 7, 'lines': [1, 2]}), to slow, at 0 s by client, countdown 30 s [pay-2]",
        "      args[0]['id']: 7, wanted 8",
        "      args[0]['lines'][1]: 2, wanted 3",
        "      queue: 'slow', wanted 'celery'",
        "      countdown: 30 s, wanted 10 s",
        told.splitlines()[-1],
    ]
    assert told.splitlines()[-1].startswith("  shop.refund(7), to celery")


def test_a_failure_is_of_few_lines_however_much_was_published(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        for number in range(200):
            charge.delay({str(key): "x" * 1000 for key in range(30)}, currency=str(number))
        told = failure(sim.assert_published, charge, args=[{}], times=2).splitlines()
        assert len(told) < 60
        assert max(map(len, told)) < 300
        assert told[-1] == "  and 192 of shop.charge"
        assert "was published 200 times, and should not have been" in failure(sim.assert_not_published, charge)


def test_calls_by_tasks_retries_and_a_canvas_are_found_and_say_who_made_them(shop: Celery) -> None:
    charge, refund, checkout = (shop.tasks[f"shop.{name}"] for name in ("charge", "refund", "checkout"))
    with Simulation(shop) as sim:
        sim.start_worker("w2", queues=["payments"], wait=True)
        checkout.delay(7)
        charge.delay(8, currency="XXX")
        chord([charge.si(1), charge.si(2)], refund.si(3)).delay()
        chain(charge.si(4), group(refund.si(5), refund.si(6))).delay()
        sim.run()
        sim.assert_published(charge, args=(7,), queue="payments", by="w1/1", countdown=None, times=1)
        sim.assert_published(charge, args=(8,), retries=1, countdown=30, by=lambda name: name.startswith("w1/"))
        sim.assert_published(charge, args=(8,), times=2)
        for number, task in ((1, charge), (2, charge), (3, refund), (4, charge), (5, refund), (6, refund)):
            sim.assert_published(task, args=[number], times=1)
        assert "retry 1" in failure(sim.assert_not_published, charge, retries=1)
        (first,) = sim.assert_published(charge, args=[4])
        assert [link["task"] for link in first.embed["chain"]] == ["celery.group"] or first.embed["chain"]


def test_beats_calls_are_found(shop: Celery) -> None:
    shop.conf.beat_schedule = {"nightly": {"task": "shop.refund", "schedule": 60.0, "args": (1,)}}
    with Simulation(shop, workers=0, beat=True) as sim:
        sim.run(until=130)
        sim.assert_published("shop.refund", args=(1,), by="beat", times=2)


def test_in_eager_mode_and_in_an_app_that_is_always_eager(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, mode="eager") as sim:
        charge.delay(7)
        sim.assert_published(charge, args=(7,), times=1)
    shop.conf.task_always_eager = True
    with Simulation(shop, workers=0) as sim:
        charge.delay(9)
        sim.assert_published(charge, args=(9,), times=1)
        sim.assert_not_published(charge, args=(7,))


def test_times_count_by_the_clock_of_the_publishing_whatever_it_shows_later(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        charge.apply_async((1,), countdown=60, expires=90)
        sim.advance(10)
        sim.jump_clock(3600)
        charge.apply_async((2,), countdown=60, expires=90)
        sim.jump_clock(-7200)
        charge.apply_async((3,), countdown=60, expires=90)
        sim.assert_published(charge, countdown=60, expires=90, tolerance=0.01, times=3)
        sim.assert_published(charge, args=(1,), eta=60)
        sim.assert_published(charge, args=(2,), eta=datetime(2026, 1, 1, 13, 1, 10, tzinfo=UTC))


def test_a_broadcast_is_for_each_workers_queue() -> None:
    app = Celery("proj", broker=AMQP)
    app.conf.task_queues = [Queue("celery"), Broadcast("everyone")]
    work = app.task(name="work", shared=False)(nothing)
    with Simulation(app, workers=2) as sim:
        work.apply_async(queue="everyone")
        (one,) = sim.assert_published(work, exchange="everyone", times=1)
        assert len(one.queues) == 2
        sim.run()
        assert len(sim.trace.attempts) == 2


def test_after_the_end_the_same_can_be_asked(shop: Celery) -> None:
    with Simulation(shop, workers=0) as sim:
        shop.tasks["shop.charge"].delay(7)
    sim.assert_published("shop.charge", args=(7,))


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
@pytest.mark.parametrize("compression", [None, "zlib", "bzip2"])
def test_each_serializer_is_read(shop: Celery, serializer: str, compression: str | None) -> None:
    pytest.importorskip({"json": "json", "pickle": "pickle"}.get(serializer, serializer))
    disable_insecure_serializers()
    try:
        with Simulation(shop, workers=0) as sim:
            value = {"when": [1, 2.5, None], "text": "ä"}
            shop.tasks["shop.charge"].apply_async((value,), serializer=serializer, compression=compression)
            (one,) = sim.assert_published("shop.charge", args=(value,))
            assert one.serializer == serializer
            sim.assert_not_published("shop.charge", args=({**value, "text": "a"},))
    finally:
        enable_insecure_serializers()


def test_a_body_that_cannot_be_read_is_shown_as_such(shop: Celery) -> None:
    with Simulation(shop, workers=0) as sim, shop.connection_for_write() as connection:
        headers = {"task": "shop.charge", "id": "odd"}
        connection.default_channel.queue_declare("celery")
        connection.Producer().publish(
            b"{[", routing_key="celery", content_type="application/json", content_encoding="utf-8", headers=headers
        )
        sim.assert_published("shop.charge", queue="celery")
        told = failure(sim.assert_published, "shop.charge", args=(7,))
    assert "shop.charge(...), to celery, at 0 s by client, its body cannot be read: DecodeError" in told
    assert "      args: the body cannot be read (DecodeError" in told


def test_values_that_a_message_changes_are_found_as_they_were_given(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    with Simulation(shop, workers=0) as sim:
        charge.delay((1, (2, 3)), currency={1: "a", None: moment})
        sim.assert_published(charge, args=((1, (2, 3)),), kwargs={"currency": {1: "a", None: moment}})
        sim.assert_not_published(charge, kwargs={"currency": {2: "a", None: moment}})


def test_conditions_may_be_matchers(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        charge.delay({"id": 7, "sum": 0.1 + 0.2}, currency="USD")
        sim.assert_published(charge, args=ANY, kwargs={"currency": ANY})
        sim.assert_published(charge, args=[{"id": int, "sum": pytest.approx(0.3)}])
        sim.assert_published(charge, kwargs=lambda kwargs: kwargs["currency"].startswith("U"), queue=str)
        told = failure(sim.assert_published, charge, args=[{"id": str, "sum": ANY}], eta=lambda eta: eta is not None)
    assert "args[0]['id']: 7, wanted str" in told
    assert "eta: none, wanted <lambda>" in told


def test_what_is_forgotten_counts_no_more(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        charge.delay(1)
        sim.forget_published()
        assert sim.publications == []
        sim.assert_not_published(charge)
        assert "nothing was published at all" in failure(sim.assert_published, charge)
        charge.delay(2)
        sim.assert_published(charge, times=1)


def test_a_name_that_nobody_knows_is_an_error_and_not_an_absence(shop: Celery) -> None:
    with Simulation(shop, workers=0) as sim:
        with pytest.raises(UsageError, match=r"no task 'shop.chrge', .* did you mean 'shop.charge'\?.*remote=True"):
            sim.assert_not_published("shop.chrge")
        sim.assert_not_published("other.mail", remote=True)
        shop.send_task("other.mail", [1])
        sim.assert_published("other.mail", args=[1])


@pytest.mark.parametrize(
    ("condition", "remedy"),
    [
        ({"args": 7}, r"args=\(7,\)"),
        ({"args": "7"}, "as a tuple"),
        ({"kwargs": [7]}, "as a mapping"),
        ({"kwargs": None}, "{} for none"),
        ({"headers": "tenant"}, "give a mapping"),
        ({"eta": "2026-01-01"}, "give a datetime"),
        ({"countdown": "60"}, "give seconds"),
        ({"countdown": datetime(2026, 1, 1, tzinfo=UTC)}, "a moment is an eta="),
        ({"queue": 7}, "give a name"),
        ({"priority": "high"}, "whole number"),
        ({"tolerance": -1}, "0 or more"),
        ({"times": 1.5}, "whole number"),
        ({"queue": ["mail"]}, "one of several a function"),
        ({"exchange": None}, "give a name"),
        ({"routing_key": {"a"}}, "give a name"),
        ({"by": ["client"]}, "give a name"),
        ({"by": None}, "give a name"),
        ({"by": object()}, "nothing is equal"),
        ({"eta": date(2026, 1, 1)}, "give a datetime"),
        ({"eta": float("nan")}, "give a datetime"),
        ({"countdown": date(2026, 1, 1)}, "give seconds"),
        ({"priority": None}, "without one has 0"),
        ({"retries": [1]}, "whole number"),
        ({"args": iter([7])}, "as a tuple"),
        ({"argz": (7,)}, "no such condition; did you mean 'args'"),
    ],
)
def test_a_condition_that_makes_no_sense_names_its_remedy(condition: dict[str, Any], remedy: str) -> None:
    app = Celery("proj", broker=AMQP)
    with Simulation(app, workers=0) as sim, pytest.raises(UsageError, match=remedy):
        sim.assert_published(**condition)


def test_what_could_never_be_found_is_refused_where_it_should_not_be_found(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        charge.apply_async((1,), countdown=10)
        result = group(charge.s(2)).delay()
        sim.assert_published(charge, countdown=Decimal("10.5"))
        with pytest.raises(AssertionError, match="should not have been"):
            sim.assert_not_published(charge, countdown=Decimal(10))
        for what in (sim.assert_not_published, sim.assert_published, sim.finished):
            with pytest.raises(UsageError, match="ask its children"):
                what(result)
        with pytest.raises(UsageError, match="no such condition"):
            sim.assert_not_published(charge, argz=(1,))


def test_a_function_that_only_raises_does_not_pass_for_one_that_finds_nothing(shop: Celery) -> None:
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        sim.assert_not_published(charge, args=lambda args: args["order"])  # was never asked
        charge.delay(1)
        charge.delay({"order": 7})
        with pytest.raises(UsageError, match=r"args: .*which raised NameError.*mend the function"):
            sim.assert_not_published(charge, args=lambda args: args == oredr)  # noqa: F821
        with pytest.raises(UsageError, match=r"args\[0\]|args: .*which raised TypeError"):
            sim.assert_not_published(charge, args=lambda args: args["order"] == 7)
        sim.assert_not_published(charge, args=(lambda order: order["order"] == 8,))  # it could say so of one
        sim.assert_not_published(charge, eta=lambda eta: eta.hour == 3, headers={"tenant": lambda name: name + ""})
        told = failure(sim.assert_published, charge, args=lambda args: args["order"] == 7)
        assert "<lambda>, which raised TypeError(" in told


def test_a_signature_and_times_of_nothing_are_refused(shop: Celery) -> None:
    with Simulation(shop, workers=0) as sim:
        with pytest.raises(UsageError, match="is a signature: ask for its task"):
            sim.assert_published(shop.tasks["shop.charge"].s(7))
        with pytest.raises(UsageError, match="0 of them"):
            sim.assert_not_published("shop.charge", times=1)


def test_an_eta_in_native_delayed_delivery_is_for_the_queue_that_was_named() -> None:
    kind = {"queue_arguments": {"x-queue-type": "quorum"}}
    app = Celery("proj", broker=AMQP)
    topic = Exchange("shop", type="topic")
    app.conf.update(
        task_queues=[Queue("orders", topic, routing_key="order.#", **kind), Queue("celery", topic, **kind)],
        task_default_exchange_type="topic", task_default_queue="celery",
        broker_native_delayed_delivery_queue_type="quorum", worker_detect_quorum_queues=True,
    )  # fmt: skip
    work = app.task(name="work", shared=False)(nothing)
    with Simulation(app) as sim:
        sim.now  # noqa: B018  the worker declares what delays
        work.apply_async(queue="orders", countdown=60)
        work.apply_async(queue="orders")
        delayed, _ = sim.assert_published(work, queue="orders", times=2)
        assert delayed.exchange == "celery_delayed_27"
        sim.assert_published(work, queue=app.conf.task_queues[0], countdown=60, times=1)
        sim.run()
        sim.assert_published(work, queue="orders", countdown=60, times=1)


def test_a_message_that_reached_no_queue_says_so(app: Celery) -> None:
    work = app.task(name="work", shared=False)(nothing)
    with Simulation(app, broker=AMQP, workers=0) as sim:
        work.apply_async(exchange="amq.topic", routing_key="nowhere")
        sim.assert_published(work, exchange="amq.topic", routing_key="nowhere")
        told = failure(sim.assert_published, work, queue="celery")
    assert "work(), to no queue, by exchange 'amq.topic' and routing key 'nowhere'" in told


def test_what_is_too_old_to_be_known_is_not_guessed(shop: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("world", "driving.publishing"):
        monkeypatch.setattr(f"tasksim.{module}.KEPT", 3)
    charge = shop.tasks["shop.charge"]
    with Simulation(shop, workers=0) as sim:
        for number in range(5):
            charge.delay(number)
        sim.assert_published(charge, args=(4,))
        with pytest.raises(UsageError, match=r"2 messages of shop.charge are too old.*forget_published"):
            sim.assert_not_published(charge, args=(0,))
        sim.assert_not_published("shop.refund")


# --- the law: a call is found by what was said, and not with one thing changed

scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
calls = st.fixed_dictionaries(
    {"args": st.lists(values, max_size=3), "kwargs": st.dictionaries(st.text(min_size=1, max_size=3), values)},
    optional={
        "queue": st.sampled_from(["a", "b"]),
        "countdown": st.integers(1, 10**6),
        "expires": st.integers(1, 10**6),
        "priority": st.integers(1, 9),
    },
)


def other(name: str, value: Any) -> Any:
    """Another value of the same condition."""
    if name in ("countdown", "expires"):
        return value + 5
    return {"args": lambda: [*value, "more"], "kwargs": lambda: {**value, "more": 1}, "queue": lambda: value + "x"}.get(
        name, lambda: value % 9 + 1
    )()


@pytest.mark.parametrize("broker", BROKERS)
@settings(max_examples=30)
@given(call=calls, serializer=st.sampled_from(["json", "pickle"]))
def test_a_call_is_found_as_it_was_made_and_not_with_one_thing_changed(
    broker: str, call: dict[str, Any], serializer: str
) -> None:
    app = Celery("proj", broker=broker, set_as_current=False)
    work = app.task(name="work", shared=False, typing=False)(nothing)
    with Simulation(app, workers=0) as sim:
        work.apply_async(serializer=serializer, **call)
        sim.assert_published(work, times=1, tolerance=0.001, **call)
        for name, value in call.items():
            sim.assert_not_published(work, tolerance=0.001, **{**call, name: other(name, value)})
            sim.assert_published(work, times=1, tolerance=0.001, **{name: value})
