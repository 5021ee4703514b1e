"""Who gets which message, how many at once, and what comes back."""

import gc
import sys

import pytest

from tasksim.broker.amqp import methods as m
from tasksim.events import Acked, Delivered, Disconnected, Queued, Redelivered, Rejected, Requeued
from tests.amqp_scene import Scene


@pytest.fixture
def scene():
    return Scene()


def full_queue(scene, count, **arguments):
    client = scene.client("client")
    client.queue("q", **arguments)
    for number in range(count):
        client.publish(str(number))
    return client


# --- handing out


def test_messages_go_out_in_the_order_of_publishing(scene):
    full_queue(scene, 5)
    worker = scene.client("w1")
    worker.consume()
    assert worker.bodies() == ["0", "1", "2", "3", "4"]


def test_consumers_take_turns(scene):
    client = full_queue(scene, 0)
    first, second = scene.client("w1"), scene.client("w2")
    first.consume()
    second.consume()
    for number in range(6):
        client.publish(str(number))
    assert first.bodies() == ["0", "2", "4"]
    assert second.bodies() == ["1", "3", "5"]


def test_a_full_consumer_is_passed_over_and_comes_back_at_the_end_of_the_ring(scene):
    client = full_queue(scene, 0)
    one, two, three = (scene.client(name) for name in ("w1", "w2", "w3"))
    for worker in (one, two, three):
        worker.qos(1)
        worker.consume()
    for number in range(4):  # the fourth finds all full, and they leave the ring
        client.publish(str(number))
    two.ack(two.take()[0].tag)
    assert two.bodies() == ["3"]
    three.ack(three.take()[0].tag)
    one.ack(one.take()[0].tag)
    client.publish("4")
    client.publish("5")
    assert (three.bodies(), one.bodies(), two.bodies()) == (["4"], ["5"], [])


def test_prefetch_that_is_not_global_holds_for_each_consumer_to_come(scene):
    full_queue(scene, 9)
    worker = scene.client("w1")
    worker.qos(2)
    worker.consume(tag="a")
    worker.qos(3)
    worker.consume(tag="b")
    got = [delivery.consumer for delivery in worker.take()]
    assert sorted(got) == ["a", "a", "b", "b", "b"]


def test_prefetch_that_is_global_is_shared_by_the_channel(scene):
    full_queue(scene, 9)
    worker = scene.client("w1")
    worker.qos(3, together=True)
    worker.consume(tag="a")
    worker.consume(tag="b")
    got = worker.take()
    assert len(got) == 3
    worker.ack(got[0].tag)
    assert len(worker.take()) == 1


def test_raising_the_global_limit_lets_more_out_at_once(scene):
    full_queue(scene, 9)
    worker = scene.client("w1")
    worker.qos(2, together=True)
    worker.consume()
    worker.qos(5, together=True)
    assert worker.bodies() == ["0", "1", "2", "3", "4"]


def test_lowering_the_global_limit_takes_nothing_back(scene):
    full_queue(scene, 9)
    worker = scene.client("w1")
    worker.qos(4, together=True)
    worker.consume()
    worker.qos(2, together=True)
    for got in worker.take()[:2]:
        worker.ack(got.tag)
    assert worker.take() == []
    assert scene.row().unacked == 2
    worker.ack(0, multiple=True)
    assert len(worker.take()) == 2


def test_both_limits_hold_together(scene):
    full_queue(scene, 9)
    worker = scene.client("w1")
    worker.qos(2)
    worker.consume(tag="a")
    worker.consume(tag="b")
    worker.qos(3, together=True)
    assert len(worker.take()) == 4  # what is out stays out
    worker.ack(0, multiple=True)
    assert len(worker.take()) == 3


def test_from_4_3_on_global_prefetch_means_each_consumer():
    scene = Scene("4.3")
    full_queue(scene, 9)
    worker = scene.client("w1")
    worker.qos(2, together=True)
    worker.consume(tag="a")
    worker.consume(tag="b")
    assert len(worker.take()) == 4


def test_prefetch_does_not_limit_a_consumer_that_does_not_acknowledge(scene):
    full_queue(scene, 5)
    worker = scene.client("w1")
    worker.qos(1)
    worker.consume(no_ack=True)
    assert len(worker.take()) == 5
    assert scene.row().unacked == 0


def test_a_consumer_of_lower_priority_waits_until_the_others_are_full(scene):
    client = full_queue(scene, 0)
    low, high = scene.client("low"), scene.client("high")
    low.consume()
    high.qos(2)
    high.consume(priority=10)
    for number in range(3):
        client.publish(str(number))
    assert (high.bodies(), low.bodies()) == (["0", "1"], ["2"])


def test_a_higher_priority_goes_out_first(scene):
    client = scene.client()
    client.queue(max_priority=9)
    for priority in (0, 5, None, 9, 20, 5):
        properties = {} if priority is None else {"priority": priority}
        client.publish(str(priority), **properties)
    client.consume()
    assert client.bodies() == ["9", "20", "5", "5", "0", "None"]


def test_without_max_priority_a_priority_means_nothing(scene):
    client = scene.client()
    client.queue()
    client.publish("low", priority=0)
    client.publish("high", priority=9)
    client.consume()
    assert client.bodies() == ["low", "high"]


def test_get_fetches_one_and_says_how_many_are_left(scene):
    client = full_queue(scene, 2)
    assert client.call(m.BASIC_GET, 0, "q", False)[1:] == (False, "", "q", 1)
    assert client.get() == "1"
    assert client.get() is None
    assert scene.row().unacked == 2
    client.ack(2, multiple=True)
    assert scene.row().unacked == 0


def test_consume_ok_comes_before_the_first_delivery(scene):
    worker = full_queue(scene, 1)
    worker.consume(tag="a")
    kinds = [method for _, method, _, _ in worker.sent]
    assert kinds.index(m.BASIC_CONSUME_OK) < kinds.index(m.BASIC_DELIVER)


def test_generated_consumer_tags_are_counted(scene):
    client = full_queue(scene, 0)
    assert client.consume() == ("amq.ctag-1",)
    assert client.consume() == ("amq.ctag-2",)


def test_a_cancelled_consumer_keeps_what_it_has_and_gets_no_more(scene):
    client = full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume(tag="a")
    assert worker.call(m.BASIC_CANCEL, "a", False) == ("a",)
    client.publish("later")
    assert worker.bodies() == ["0"]
    worker.ack(1)
    row = scene.row()
    assert (row.ready, row.unacked, row.consumers) == (1, 0, 0)


def test_an_exclusive_consumer_stays_alone(scene):
    client = full_queue(scene, 0)
    client.consume(exclusive=True)
    other = scene.client()
    other.consume()
    assert other.error == (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")


def test_a_client_that_answers_within_the_delivery_gets_each_message_once(scene):
    client = full_queue(scene, 2000)
    worker = scene.client("w1")
    got = []

    def answer(_channel, method, args, content):
        if method == m.BASIC_DELIVER:
            got.append(content.body.decode())
            worker.connection.handle(1, m.BASIC_ACK, (args[1], False), None)

    worker.connection._send = answer
    worker.qos(1)
    worker.consume()
    assert got == [str(number) for number in range(2000)]
    assert client.scene.server.waiting() == 0


# --- settling


def test_acknowledging_several_takes_all_up_to_the_tag(scene):
    full_queue(scene, 5)
    worker = scene.client("w1")
    worker.consume()
    worker.ack(2)
    worker.ack(4, multiple=True)
    assert scene.row().unacked == 1
    assert [event.delivery for event in scene.of(Acked)] == [2, 1, 3, 4]


def test_tag_0_with_multiple_acknowledges_all_even_if_there_is_nothing(scene):
    full_queue(scene, 3)
    worker = scene.client("w1")
    worker.consume()
    worker.ack(0, multiple=True)
    worker.ack(0, multiple=True)
    assert scene.row().unacked == 0
    assert worker.error is None


@pytest.mark.parametrize("multiple", [False, True])
def test_an_unknown_tag_closes_the_channel_and_gives_its_messages_back(scene, multiple):
    full_queue(scene, 2)
    worker = scene.client("w1")
    worker.consume()
    worker.ack(7, multiple=multiple)
    assert worker.error == (406, "PRECONDITION_FAILED - unknown delivery tag 7")
    row = scene.row()
    assert (row.ready, row.unacked, row.consumers) == (2, 0, 0)


def test_acknowledging_twice_is_an_unknown_tag(scene):
    full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume()
    worker.ack(1)
    worker.ack(1)
    assert worker.error == (406, "PRECONDITION_FAILED - unknown delivery tag 1")


def test_after_a_channel_error_the_number_can_be_opened_again(scene):
    client = full_queue(scene, 1)
    client.ack(7)
    client.publish("ignored while closing")
    client.call(m.CHANNEL_CLOSE_OK)
    client.open()
    client.publish("1")
    assert scene.row().ready == 2


def test_a_rejected_message_goes_back_to_its_old_place(scene):
    full_queue(scene, 4)
    worker = scene.client("w1")
    worker.qos(2)
    worker.consume(tag="a")
    worker.call(m.BASIC_CANCEL, "a", False)
    worker.reject(2)
    worker.reject(1)
    other = scene.client("w2")
    other.consume()
    got = other.take()
    assert [delivery.body for delivery in got] == ["0", "1", "2", "3"]
    assert [delivery.redelivered for delivery in got] == [True, True, False, False]


def test_nack_several_with_requeue_keeps_their_order(scene):
    full_queue(scene, 3)
    worker = scene.client("w1")
    worker.consume(tag="a")
    worker.take()
    worker.call(m.BASIC_CANCEL, "a", False)
    worker.nack(3, multiple=True)
    worker.consume()
    assert worker.bodies() == ["0", "1", "2"]


def test_what_is_rejected_without_requeue_is_gone(scene):
    full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume()
    worker.reject(1, requeue=False)
    assert (scene.row().ready, scene.row().unacked) == (0, 0)
    assert [event.requeue for event in scene.of(Rejected)] == [False]


def test_recover_brings_all_that_is_unacknowledged_again(scene):
    full_queue(scene, 2)
    worker = scene.client("w1")
    worker.consume()
    worker.take()
    worker.call(m.BASIC_RECOVER, True)
    assert worker.bodies() == ["0", "1"]
    assert {event.reason for event in scene.of(Requeued)} == {"recovered"}


# --- deaths


def test_a_dead_workers_messages_come_back_in_order_to_their_old_places(scene):
    full_queue(scene, 6)
    worker = scene.client("w1")
    worker.qos(4)
    worker.consume()
    worker.ack(2)
    worker.die()
    other = scene.client("w2")
    other.consume()
    assert other.bodies() == ["0", "2", "3", "4", "5"]
    assert [event.reason for event in scene.of(Disconnected)] == ["process died"]
    assert len(scene.of(Redelivered)) == 4


def test_interleaved_deliveries_come_back_sorted(scene):
    client = full_queue(scene, 0)
    odd, even = scene.client("w1"), scene.client("w2")
    odd.consume()
    even.consume()
    for number in range(10):
        client.publish(str(number))
    odd.die()
    assert even.bodies() == ["1", "3", "5", "7", "9", "0", "2", "4", "6", "8"]
    even.die()
    last = scene.client("w3")
    last.consume()
    assert last.bodies() == [str(number) for number in range(10)]


def test_a_dying_connection_hands_nothing_to_its_own_other_channel(scene):
    full_queue(scene, 4)
    worker = scene.client("w1")
    worker.open(2)
    worker.qos(2)
    worker.consume()
    worker.qos(1, channel=2)
    worker.consume(channel=2)
    before = len(scene.of(Delivered))
    worker.die()
    assert len(scene.of(Delivered)) == before
    assert scene.of(Redelivered) == []


def test_closing_a_channel_gives_its_messages_to_others(scene):
    full_queue(scene, 2)
    worker, other = scene.client("w1"), scene.client("w2")
    worker.consume()
    other.consume()
    worker.close_channel()
    assert other.bodies() == ["0", "1"]
    assert {event.reason for event in scene.of(Requeued)} == {"channel closed"}


def test_a_severed_client_is_told_and_its_messages_come_back(scene):
    full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume()
    scene.server.sever(worker.connection, "cut")
    assert worker.gone == "cut"
    assert scene.row().ready == 1
    assert list(scene.server.connections) == [1]


# --- delivery acknowledgement time-out


def test_a_delivery_not_acknowledged_for_30_minutes_closes_the_channel(scene):
    full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume()
    scene.clock.advance(30 * 60)
    assert worker.error is None
    scene.clock.advance(60)
    assert worker.error == (
        406,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. "
        "This timeout value can be configured, see consumers doc guide to learn more",
    )
    assert worker.answers(m.CHANNEL_CLOSE)[0][2:] == (0, 0)
    assert scene.row().ready == 1


def test_the_time_out_is_looked_for_each_minute_from_when_the_channel_was_busy():
    scene = Scene(consumer_timeout=90.0)
    client = full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume()
    scene.clock.advance(45)
    worker.ack(1)
    client.publish("late")
    scene.clock.advance(134.9)  # the second is 134.9 s old at the minutes' mark of 179.9 s
    assert worker.error is None
    scene.clock.advance(0.1)
    assert worker.error is not None


def test_a_channel_that_acknowledges_in_time_is_never_closed(scene):
    client = full_queue(scene, 0)
    worker = scene.client("w1")
    worker.consume()
    for number in range(1, 20):
        client.publish()
        scene.clock.advance(1500)
        worker.ack(number)
    assert worker.error is None


def test_a_queue_can_have_its_own_time_out(scene):
    full_queue(scene, 1, consumer_timeout=60_000)
    worker = scene.client("w1")
    worker.consume()
    scene.clock.advance(121)
    assert worker.error is not None


# --- what events say


def test_events_name_the_processes_and_number_messages_and_deliveries(scene):
    client = scene.client("client")
    client.queue()
    client.publish(application_headers={"id": "T1", "task": "add", "retries": 2, "eta": None})
    worker = scene.client("w1")
    worker.consume()
    worker.reject(1)
    worker.ack(2)
    story = [(type(event).__name__, event.process) for event in scene.events[1:]]
    assert story == [
        ("Published", "client"),
        ("Queued", "broker"),
        ("Connected", "w1"),
        ("Delivered", "w1"),
        ("Rejected", "w1"),
        ("Requeued", "broker"),
        ("Redelivered", "w1"),
        ("Acked", "w1"),
    ]
    assert {event.task_id for event in scene.events if hasattr(event, "task_id")} == {"T1"}
    assert scene.of(Redelivered)[0].delivery == 2
    assert scene.of(Queued)[0].message == 1


def test_waiting_counts_what_will_still_move(scene):
    client = full_queue(scene, 3)
    assert scene.server.waiting() == 0
    client.consume(no_ack=True)
    assert scene.server.waiting() == 0
    full_queue(scene, 3)
    worker = scene.client("w1")
    worker.qos(1)
    client.call(m.BASIC_CANCEL, "amq.ctag-1", False)
    full_queue(scene, 3)
    worker.consume()
    assert scene.server.waiting() == 3
    worker.ack(1)
    assert scene.server.waiting() == 2
    worker.die()
    assert scene.server.waiting() == 0


def test_the_snapshot_prints_as_a_table(scene):
    full_queue(scene, 12)
    assert str(scene.server) == "queue  ready  unacked  consumers\nq         12        0          0"


def test_of_several_consumers_a_single_active_one_gets_all_until_it_is_gone(scene):
    client = full_queue(scene, 0, single_active_consumer=True)
    first, second = scene.client("w1"), scene.client("w2")
    first.qos(1)
    first.consume()
    second.consume()
    for number in range(3):
        client.publish(str(number))
    assert (first.bodies(), second.bodies()) == (["0"], [])
    first.ack(1)
    assert (first.bodies(), second.bodies()) == (["1"], [])
    first.die()
    assert second.bodies() == ["1", "2"]


def test_from_4_3_on_a_classic_queue_waits_for_ever_for_an_acknowledgement():
    scene = Scene("4.3")
    full_queue(scene, 1)
    worker = scene.client("w1")
    worker.consume()
    scene.clock.advance(10 * 3600)
    assert worker.error is None


def test_the_cost_of_a_message_does_not_grow_with_what_is_ready_and_unacknowledged():
    steps = []
    for count in (200, 4000):
        fresh = Scene()
        full_queue(fresh, count)
        worker = fresh.client("w1")
        worker.qos(count // 2)
        worker.consume()
        steps.append(_lines_run(lambda worker=worker: worker.ack(1)))
        steps.append(_lines_run(lambda worker=worker: worker.ack(5, multiple=True)))
        steps.append(_lines_run(lambda worker=worker: worker.nack(6)))
    assert steps[:3] == steps[3:]


def _lines_run(function):
    count = 0

    def trace(_frame, _event, _argument):
        nonlocal count
        count += 1
        return trace

    before, collecting = sys.gettrace(), gc.isenabled()
    gc.disable()  # a finalizer's lines would count
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        if collecting:
            gc.enable()
    return count
