"""Messages that wait too long, are too many, are rejected, or live through a restart; confirms and transactions."""

import pytest

from tasksim.broker.amqp import methods as m
from tasksim.events import DeadLettered, Disconnected, Dropped, MessageExpired, ServerStarted, ServerStopped
from tests.amqp_scene import SECOND, Scene


@pytest.fixture
def scene():
    return Scene(epoch_ns=1_767_268_800 * SECOND)


@pytest.fixture
def client(scene):
    return scene.client()


# --- time to live


def test_a_message_expires_at_the_lower_of_both_times(scene, client):
    client.queue(message_ttl=5_000)
    client.publish("short", expiration="1000")
    client.publish("long", expiration="9000")
    scene.clock.advance(0.999)
    assert scene.row().ready == 2
    scene.clock.advance(0.001)
    assert scene.row().ready == 1
    scene.clock.advance(4)
    assert scene.row().ready == 0
    assert [event.time for event in scene.of(MessageExpired)] == [1.0, 5.0]


def test_only_what_is_at_the_head_expires(scene, client):
    client.queue()
    client.publish("first")
    client.publish("second", expiration="1000")
    scene.clock.advance(10)
    assert scene.row().ready == 2
    assert client.get() == "first"
    assert scene.row().ready == 0


def test_a_time_to_live_of_0_lets_only_a_waiting_consumer_have_it(client):
    client.queue(message_ttl=0)
    client.publish("lost")
    client.consume()
    client.publish("got")
    assert client.bodies() == ["got"]


def test_what_comes_back_too_late_expires(scene, client):
    client.queue(message_ttl=1_000)
    client.publish()
    client.get()
    scene.clock.advance(2)
    assert scene.of(MessageExpired) == []
    client.nack(1)
    assert len(scene.of(MessageExpired)) == 1


def test_an_expiration_that_is_no_number_is_refused(client):
    client.queue()
    client.publish(expiration="soon")
    assert client.error[0] == 406
    assert client.error[1].startswith("PRECONDITION_FAILED - invalid expiration 'soon'")


# --- dead letters


def dead_letters(client, **arguments):
    client.queue("dead")
    client.queue("q", dead_letter_exchange="", dead_letter_routing_key="dead", **arguments)


def test_a_rejected_message_goes_to_the_dead_letters_with_its_story(scene, client):
    dead_letters(client)
    client.publish("m", application_headers={"id": "T"})
    client.get()
    scene.clock.advance(1.5)
    client.reject(1, requeue=False)
    client.consume("dead")
    (got,) = client.take()
    headers = got.properties["application_headers"]
    (death,) = headers.pop("x-death")
    assert str(death.pop("time")) == "2026-01-01 12:00:01"
    assert death == {"count": 1, "reason": "rejected", "queue": "q", "exchange": "", "routing-keys": ["q"]}
    assert headers == {
        "id": "T",
        **{f"x-{which}-death-reason": "rejected" for which in ("first", "last")},
        **{f"x-{which}-death-queue": "q" for which in ("first", "last")},
        **{f"x-{which}-death-exchange": "" for which in ("first", "last")},
    }
    assert (got.redelivered, got.key) == (False, "dead")
    (event,) = scene.of(DeadLettered)
    assert (event.message, event.queue, event.routing_key, event.reason) == (1, "q", "dead", "rejected")


def test_an_expired_message_keeps_its_own_key_if_the_queue_has_none_and_loses_its_expiration(scene, client):
    client.exchange("dlx", "fanout")
    client.queue("dead")
    client.bind("dead", "dlx")
    client.queue("q", dead_letter_exchange="dlx")
    client.publish("m", expiration="1000")
    assert scene.server.waiting() == 1
    scene.clock.advance(1)
    client.consume("dead")
    (got,) = client.take()
    assert got.key == "q"
    assert "expiration" not in got.properties
    assert got.properties["application_headers"]["x-death"][0]["original-expiration"] == "1000"


def test_the_same_death_twice_is_counted(scene, client):
    client.queue("q", dead_letter_exchange="", dead_letter_routing_key="wait")
    client.queue("wait", message_ttl=1_000, dead_letter_exchange="", dead_letter_routing_key="q")
    client.publish("m", "q")
    for tag in range(1, 4):
        assert client.get() == "m"
        client.reject(tag, requeue=False)
        scene.clock.advance(1)
    client.consume("q")
    deaths = client.take()[0].properties["application_headers"]["x-death"]
    assert [(death["queue"], death["reason"], death["count"]) for death in deaths] == [
        ("wait", "expired", 3),
        ("q", "rejected", 3),
    ]


def test_a_circle_without_a_rejection_ends_the_message(scene, client):
    client.queue("a", message_ttl=1_000, dead_letter_exchange="", dead_letter_routing_key="b")
    client.queue("b", message_ttl=1_000, dead_letter_exchange="", dead_letter_routing_key="a")
    client.publish("m", "a")
    scene.clock.advance(60)
    assert [event.reason for event in scene.of(Dropped)] == ["dead-letter cycle"]
    assert scene.server.waiting() == 0


def test_a_dead_letter_exchange_that_is_missing_is_none(scene, client):
    client.queue("q", dead_letter_exchange="nope")
    client.publish()
    client.get()
    client.reject(1, requeue=False)
    assert scene.of(DeadLettered) == []
    assert client.error is None


@pytest.mark.parametrize(("version", "count"), [("3.12", 8), ("4.1", 1)])
def test_from_4_0_on_the_deaths_that_a_client_tells_do_not_count(version, count):
    scene = Scene(version)
    client = scene.client()
    dead_letters(client)
    told = {"x-death": [{"count": 7, "reason": "rejected", "queue": "q", "exchange": "", "routing-keys": ["q"]}]}
    client.publish("m", application_headers=told)
    client.get()
    client.reject(1, requeue=False)
    client.consume("dead")
    assert client.take()[0].properties["application_headers"]["x-death"][0]["count"] == count
    assert told["x-death"][0]["count"] == 7


# --- too many


def test_a_full_queue_drops_its_oldest(scene, client):
    dead_letters(client, max_length=2)
    for number in range(4):
        client.publish(str(number))
    assert [client.get(), client.get()] == ["2", "3"]
    assert [client.get("dead"), client.get("dead")] == ["0", "1"]
    assert {event.reason for event in scene.of(DeadLettered)} == {"maxlen"}


def test_a_full_queue_that_rejects_tells_a_confirming_publisher(scene, client):
    client.queue(max_length=1, overflow="reject-publish")
    client.call(m.CONFIRM_SELECT, False)
    client.publish("in")
    client.publish("out")
    assert client.answers(m.BASIC_ACK) == [(1, False)]
    assert client.answers(m.BASIC_NACK) == [(2, False, False)]
    assert [event.reason for event in scene.of(Dropped)] == ["maxlen"]


def test_a_consumer_keeps_a_short_queue_from_dropping(client):
    client.queue(max_length=1)
    client.consume()
    for number in range(3):
        client.publish(str(number))
    assert client.bodies() == ["0", "1", "2"]


# --- confirms and transactions


def test_each_publish_is_confirmed_in_order_after_its_return(client):
    client.queue()
    client.publish("before")
    client.call(m.CONFIRM_SELECT, False)
    client.publish("1")
    client.publish("2", "nowhere", mandatory=True)
    client.publish("3", "nowhere")
    kinds = [method for _, method, _, _ in client.sent if method in (m.BASIC_ACK, m.BASIC_RETURN)]
    assert kinds == [m.BASIC_ACK, m.BASIC_RETURN, m.BASIC_ACK, m.BASIC_ACK]
    assert [tag for tag, _ in client.answers(m.BASIC_ACK)] == [1, 2, 3]


def test_confirms_are_counted_for_each_channel(client):
    client.queue()
    client.open(2)
    for channel in (1, 2):
        client.call(m.CONFIRM_SELECT, False, channel=channel)
        client.publish(channel=channel)
    assert client.answers(m.BASIC_ACK) == [(1, False), (1, False)]


def test_a_transaction_holds_back_until_the_commit(scene, client):
    client.queue()
    client.publish("0")
    client.call(m.TX_SELECT)
    client.get()
    client.publish("1")
    client.ack(1)
    assert (scene.row().ready, scene.row().unacked) == (0, 1)
    client.call(m.TX_COMMIT)
    assert (scene.row().ready, scene.row().unacked) == (1, 0)


def test_a_rollback_forgets_publishes_and_acknowledgements(scene, client):
    client.queue()
    client.publish("0")
    client.call(m.TX_SELECT)
    client.get()
    client.publish("1")
    client.ack(1)
    client.call(m.TX_ROLLBACK)
    assert (scene.row().ready, scene.row().unacked) == (0, 1)
    client.ack(1)
    client.die()
    assert scene.row().ready == 1


def test_confirms_and_transactions_exclude_each_other(scene, client):
    client.call(m.CONFIRM_SELECT, False)
    client.call(m.TX_SELECT)
    assert client.error == (406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode")
    other = scene.client()
    other.call(m.TX_COMMIT)
    assert other.error == (406, "PRECONDITION_FAILED - channel is not transactional")


# --- restart


def test_a_restart_keeps_persistent_messages_in_durable_queues_only(scene, client):
    client.queue("durable")
    client.queue("transient", durable=False)
    client.publish("kept", "durable", delivery_mode=2)
    client.publish("lost", "durable", delivery_mode=1)
    client.publish("lost too", "transient", delivery_mode=2)
    scene.restart()
    assert client.gone == "server stopped"
    assert [(row.name, row.ready) for row in scene.server.rows()] == [("durable", 1)]
    assert {event.reason for event in scene.of(Dropped)} == {"server restarted"}
    assert len(scene.of(Dropped)) == 2
    assert len(scene.of(ServerStopped)) == len(scene.of(ServerStarted)) == len(scene.of(Disconnected)) == 1


def test_a_restart_keeps_durable_exchanges_and_bindings_between_durable_things(scene, client):
    client.exchange("x")
    client.exchange("gone", durable=False)
    client.queue("a")
    client.queue("b", durable=False)
    client.bind("a", "x", "k")
    client.bind("b", "x", "k")
    client.bind("a", "gone", "k")
    scene.restart()
    again = scene.client()
    again.publish("m", "k", "x")
    assert [(row.name, row.ready) for row in scene.server.rows()] == [("a", 1)]
    again.publish("m", "k", "gone")
    assert again.error[0] == 404


def test_unacknowledged_messages_live_through_a_restart_in_order_and_redelivered(scene, client):
    client.queue()
    for number in range(4):
        client.publish(str(number), delivery_mode=2)
    worker = scene.client("w1")
    worker.qos(2)
    worker.consume()
    worker.ack(1)
    scene.restart()
    again = scene.client("w1")
    again.consume()
    assert [(got.body, got.redelivered) for got in again.take()] == [("1", True), ("2", True), ("3", False)]


def test_nobody_connects_to_a_stopped_server(scene):
    scene.server.stop()
    with pytest.raises(ConnectionRefusedError):
        scene.client()
    scene.server.start()
    assert scene.client().error is None


def test_time_to_live_goes_on_while_the_server_is_down(scene, client):
    dead_letters(client, message_ttl=5_000)
    client.publish("m", delivery_mode=2)
    scene.server.stop()
    scene.clock.advance(10)
    assert scene.of(MessageExpired) == []
    scene.server.start()
    assert scene.row("dead").ready == 1


# --- quorum queues


def test_a_quorum_queue_counts_returns_and_gives_up_after_20(scene, client):
    client.queue("dead")
    client.queue("q", queue_type="quorum", dead_letter_exchange="", dead_letter_routing_key="dead")
    client.publish("poison")
    client.consume()
    counts = []
    for tag in range(1, 22):
        (got,) = client.take()
        counts.append(got.properties.get("application_headers", {}).get("x-delivery-count"))
        client.nack(tag)
    assert counts == [None, *range(1, 21)]
    assert client.take() == []
    assert scene.row("dead").ready == 1
    assert scene.of(DeadLettered)[0].reason == "delivery_limit"


def test_before_4_0_a_quorum_queue_never_gives_up():
    scene = Scene("3.12")
    client = scene.client()
    client.queue("q", queue_type="quorum")
    client.publish("poison")
    client.consume()
    for tag in range(1, 50):
        client.nack(tag)
    assert scene.row().unacked == 1


def test_a_quorum_queue_keeps_all_messages_over_a_restart(scene, client):
    client.queue("q", queue_type="quorum")
    client.publish("m", delivery_mode=1)
    scene.restart()
    assert scene.row().ready == 1


@pytest.mark.parametrize("changed", [{"durable": False}, {"exclusive": True}, {"auto_delete": True}])
def test_a_quorum_queue_is_durable_and_shared(client, changed):
    client.queue("q", queue_type="quorum", **changed)
    assert client.error[0] == 406


def test_a_quorum_queue_serves_no_channel_with_a_global_limit(client):
    client.queue("q", queue_type="quorum")
    client.qos(2, together=True)
    client.consume()
    assert client.error == (540, "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos")


def test_a_queue_can_be_full_by_bytes(scene, client):
    client.queue(max_length_bytes=10)
    for body in ("four", "five5", "six666"):
        client.publish(body)
    assert client.get() == "six666"
    assert len(scene.of(Dropped)) == 2


@pytest.mark.parametrize(("version", "mebibytes"), [("3.13", 128), ("4.1", 16)])
def test_a_message_can_be_too_large(version, mebibytes):
    scene = Scene(version)
    assert scene.server.shared.max_message_bytes == mebibytes * 1024 * 1024
    scene.server.shared.max_message_bytes = 4
    client = scene.client()
    client.queue()
    client.publish("four")
    assert client.error is None
    client.publish("five5")
    assert client.error == (406, "PRECONDITION_FAILED - message size 5 is larger than configured max size 4")


@pytest.mark.parametrize(("version", "order"), [("3.13", "abcdef"), ("4.1", "acbfde")])
def test_from_4_0_on_a_quorum_queue_has_two_priorities_of_which_none_starves(version, order):
    client = Scene(version).client()
    client.queue("q", queue_type="quorum")
    for body, priority in (("a", 5), ("b", 4), ("c", 9), ("d", None), ("e", 1), ("f", 5)):
        client.publish(body, **({} if priority is None else {"priority": priority}))
    assert "".join(client.get() for _ in order) == order


def test_a_quorum_queue_takes_one_too_many_and_then_stops_its_publishers(scene, client):
    client.queue("q", queue_type="quorum", max_length=2, overflow="reject-publish")
    client.call(m.CONFIRM_SELECT, False)
    for _ in range(4):
        client.publish()
    assert len(client.answers(m.BASIC_ACK)) == 3
    assert len(client.answers(m.BASIC_NACK)) == 1
    other = scene.client("late")
    other.publish()
    assert scene.row().ready == 3
    client.get()
    client.publish()
    assert scene.row().ready == 2
    client.get()
    client.publish()
    assert scene.row().ready == 2


def test_of_a_single_active_consumer_that_goes_the_one_of_highest_priority_takes_its_place(scene, client):
    client.queue("q", single_active_consumer=True)
    workers = [scene.client(name) for name in ("w1", "w2", "w3")]
    for worker, priority in zip(workers, (0, 0, 5), strict=True):
        worker.consume(priority=priority)
    client.publish("a")
    workers[0].die()
    assert [worker.bodies() for worker in workers[1:]] == [[], ["a"]]


def waiting_for_turns(version):
    """A quorum queue with a single active consumer that holds a message, and one of higher priority."""
    scene = Scene(version)
    client = scene.client()
    client.queue("q", queue_type="quorum", single_active_consumer=True)
    workers = [scene.client(name) for name in ("low", "high")]
    for worker in workers:
        worker.qos(2)
    workers[0].consume(priority=1)
    client.publish("a")
    assert workers[0].bodies() == ["a"]
    workers[1].consume(priority=2)
    return client, workers


def test_a_consumer_of_higher_priority_takes_over_when_the_active_one_holds_nothing():
    # As in rabbit_fifo_SUITE, single active consumers with priorities.
    client, (low, high) = waiting_for_turns("4.1")
    client.publish("b")
    assert (low.bodies(), high.bodies()) == ([], [])
    low.ack(1)
    assert (low.bodies(), high.bodies()) == ([], ["b"])
    client.publish("c")
    assert (low.bodies(), high.bodies()) == ([], ["c"])
    high.die()
    assert low.bodies() == ["b", "c"]


def test_what_the_one_that_makes_way_puts_back_goes_to_the_other():
    client, (low, high) = waiting_for_turns("4.1")
    client.publish("b")
    low.nack(1)
    assert (low.bodies(), high.bodies()) == ([], ["a", "b"])


def test_one_that_has_made_way_for_nobody_goes_on():
    client, (low, high) = waiting_for_turns("4.1")
    high.die()
    client.publish("b")
    assert low.bodies() == []
    low.ack(1)
    assert low.bodies() == ["b"]


def test_at_once_if_it_holds_nothing():
    client, (low, high) = waiting_for_turns("4.1")
    low.ack(1)
    highest = client.scene.client("highest")
    highest.consume(priority=3)
    client.publish("b")
    assert [worker.bodies() for worker in (low, high, highest)] == [[], [], ["b"]]


def test_before_4_0_nobody_takes_over():
    client, (low, high) = waiting_for_turns("3.13")
    client.publish("b")
    low.ack(1)
    client.publish("c")
    assert (low.bodies(), high.bodies()) == (["b", "c"], [])


def test_a_dead_letter_arrives_after_what_was_published_with_it(scene, client):
    client.exchange("x", "fanout")
    client.queue("first", message_ttl=0, dead_letter_exchange="", dead_letter_routing_key="second")
    client.queue("second")
    client.bind("first", "x")
    client.bind("second", "x")
    client.publish("a", "k", "x")
    client.consume("second")
    assert ["x-death" in got.properties.get("application_headers", {}) for got in client.take()] == [False, True]


def test_what_expires_behind_others_of_a_priority_queue_is_not_looked_for(scene, client):
    client.queue("q", max_priority=5)
    client.publish("low")
    client.publish("high", priority=5, expiration="0")
    assert scene.row().ready == 2
    client.publish("higher", priority=5)
    assert client.get() == "high"


@pytest.mark.parametrize(("version", "order"), [("3.10.8", ["c", "a", "b"]), ("4.1", ["c", "b", "a"])])
def test_the_deaths_before_the_last_one_are_turned_round_before_3_13(version, order):
    client = Scene(version).client()
    for name, then in (("a", "b"), ("b", "c"), ("c", "end")):
        client.queue(name, message_ttl=0, dead_letter_exchange="", dead_letter_routing_key=then)
    client.queue("end")
    client.publish("m", "a")
    client.consume("end")
    (got,) = client.take()
    assert [death["queue"] for death in got.properties["application_headers"]["x-death"]] == order


def test_a_rejected_message_comes_back_after_its_consumer_has_got_the_next_one(scene, client):
    client.queue("q", max_priority=5, dead_letter_exchange="", dead_letter_routing_key="q")
    client.publish("first", priority=5)
    client.publish("second")
    client.qos(1)
    client.consume()
    client.nack(client.take()[0].tag, requeue=False)
    assert client.bodies() == ["second"]
    assert scene.row().ready == 1


def test_what_is_rejected_at_once_comes_back_consumer_by_consumer(client):
    client.queue("q", max_priority=1)
    client.consume(tag="t1")
    client.consume(tag="t2")
    client.publish("low")
    client.publish("high", priority=1)
    client.take()
    client.nack(0, multiple=True)
    assert [(got.consumer, got.body) for got in client.take()] == [("t1", "low"), ("t2", "high")]
