"""The shop in the simulation: what a user of the plugin would write."""

from datetime import UTC, datetime

import pytest
import shop
from shop import gateway, mail, stock
from shop.tasks import charge, nightly_report, place_order, send_mail


@pytest.fixture(autouse=True)
def fresh_shop():
    shop.reset()
    yield
    shop.reset()


@pytest.fixture
def tasksim_options():
    """Which of two idle workers gets the first message is up to the seed; these tests speak of w1."""
    return {"seed": 0}


@pytest.mark.tasksim(workers=2)
def test_a_dead_worker_charges_once(sim):
    payment = charge.delay(order=7)
    sim.kill(worker="w1", when=sim.started(charge))
    sim.run()
    assert payment.get() == "paid"
    assert [a.worker for a in sim.trace.of(payment).attempts] == ["w1", "w2"]
    assert gateway.charges == [7]


@pytest.mark.tasksim(workers=2)
def test_a_worker_that_dies_after_the_charge_has_it_repeated_under_the_same_key(sim):
    payment = charge.delay(order=7)
    sim.kill(worker="w1", when=sim.on("StateStored", task_id=payment, state="SUCCESS"))
    sim.run()
    assert [a.state for a in sim.trace.of(payment).attempts] == ["LOST", "SUCCESS"]
    assert gateway.charges == [7]


def test_timeouts_are_retried_after_one_two_and_four_seconds(sim):
    gateway.answer_in(0)
    gateway.time_out(calls=3)
    payment = charge.delay(order=7)
    sim.run()
    assert payment.get() == "paid"
    assert sim.trace.of(payment).starts == pytest.approx([0, 1, 3, 7], abs=0.001)
    assert [a.state for a in sim.trace.of(payment).attempts] == ["RETRY", "RETRY", "RETRY", "SUCCESS"]


def test_after_five_retries_the_charge_is_given_up(sim):
    gateway.time_out(calls=99)
    payment = charge.delay(order=7)
    sim.run()
    with pytest.raises(gateway.GatewayTimeout):
        payment.get()
    assert len(sim.trace.of(payment).attempts) == 6
    assert gateway.charges == []


def test_a_mail_that_the_server_refused_goes_out_three_minutes_later(sim):
    mail.fail(times=1)
    confirmation = send_mail.delay(7, "hello")
    assert confirmation.get() == "hello"
    assert sim.trace.of(confirmation).starts == pytest.approx([0, 180], abs=0.001)
    assert mail.outbox == [(7, "hello")]


@pytest.mark.tasksim(workers=2)
def test_an_order_is_reserved_then_charged_then_confirmed(sim):
    order = place_order(7, items=["cup", "pot", "tea"])
    assert order.get() == "your order is on its way"
    assert [stock.left(item) for item in ("cup", "pot", "tea")] == [9, 9, 9]
    assert gateway.charges == [7]
    assert mail.outbox == [(7, "your order is on its way")]
    assert [a.task.removeprefix("shop.tasks.") for a in sim.trace.attempts] == [
        *["reserve_stock"] * 3,
        "charge",
        "send_mail",
    ]


def test_the_items_of_an_order_that_cannot_be_paid_go_back_on_the_shelf(sim):
    gateway.decline(7)
    order = place_order(7, items=["cup", "pot"])
    sim.run()
    assert order.state == "FAILURE"
    assert [stock.left(item) for item in ("cup", "pot")] == [10, 10]
    assert mail.outbox == []


@pytest.mark.tasksim(beat=True, start=datetime(2026, 1, 31, 2, 59, tzinfo=UTC))
def test_beat_sends_the_report_at_three(sim):
    gateway.charges.extend([1, 2])
    sim.run(until=300)
    assert sim.trace.of(nightly_report).starts == pytest.approx([60], abs=0.1)
    assert mail.outbox == [(0, "charges today: 2")]
