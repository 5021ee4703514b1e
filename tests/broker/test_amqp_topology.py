"""Exchanges, bindings, queues: how they are declared, what is refused, and when they go."""

import pytest

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.exchange import matches_topic
from tasksim.errors import UnsupportedError, UsageError
from tasksim.events import Dropped, Returned
from tests.amqp_scene import Scene


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def client(scene):
    return scene.client()


def reaches(scene, client, queues, exchange, key, **properties):
    before = {name: scene.row(name).ready for name in queues}
    client.publish("m", key, exchange, **properties)
    return [name for name in queues if scene.row(name).ready > before[name]]


# --- routing


def test_the_default_exchange_routes_by_the_queues_name(scene, client):
    client.queue("a")
    assert reaches(scene, client, ["a"], "", "a") == ["a"]
    assert reaches(scene, client, ["a"], "", "b") == []


def test_direct_fanout_and_topic_exchanges_route_as_their_kinds_say(scene, client):
    for name in ("a", "b"):
        client.queue(name)
    for kind in ("direct", "fanout", "topic"):
        client.exchange(kind, kind)
    client.bind("a", "direct", "x")
    client.bind("b", "direct", "y")
    client.bind("a", "fanout")
    client.bind("b", "fanout", "ignored")
    client.bind("a", "topic", "*.error")
    client.bind("b", "topic", "shop.#")
    queues = ["a", "b"]
    assert reaches(scene, client, queues, "direct", "y") == ["b"]
    assert reaches(scene, client, queues, "fanout", "z") == ["a", "b"]
    assert reaches(scene, client, queues, "topic", "shop.error") == ["a", "b"]
    assert reaches(scene, client, queues, "topic", "shop") == ["b"]
    assert reaches(scene, client, queues, "topic", "error") == []


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("#", "", True),
        ("#", "a.b", True),
        ("*", "", True),
        ("*", "a.b", False),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.x.y", False),
        ("#.a.#", "x.a.y", True),
        ("#.#", "", True),
        ("a.*.#", "a", False),
        ("*.*", "a.", True),
    ],
)
def test_topic_patterns(pattern, key, matches):
    assert matches_topic(pattern.split("."), key.split(".")) is matches


def test_headers_exchanges_match_all_or_any(scene, client):
    client.queue("all")
    client.queue("any")
    client.call(m.QUEUE_BIND, 0, "all", "amq.headers", "", False, {"x-match": "all", "a": 1, "b": 2})
    client.call(m.QUEUE_BIND, 0, "any", "amq.match", "", False, {"x-match": "any", "a": 1, "b": 2})
    queues = ["all", "any"]
    assert reaches(scene, client, queues, "amq.headers", "", application_headers={"a": 1, "b": 2}) == ["all"]
    assert reaches(scene, client, queues, "amq.headers", "", application_headers={"a": 1}) == []
    assert reaches(scene, client, queues, "amq.match", "", application_headers={"a": 1}) == ["any"]
    assert reaches(scene, client, queues, "amq.match", "") == []


def test_a_message_comes_once_to_a_queue_bound_twice(scene, client):
    client.queue("a")
    client.exchange("x", "topic")
    client.bind("a", "x", "#")
    client.bind("a", "x", "k")
    client.publish("m", "k", "x")
    assert scene.row("a").ready == 1


def test_exchanges_bound_in_a_circle_route_once(scene, client):
    client.queue("a")
    for name in ("x", "y"):
        client.exchange(name, "fanout")
    client.call(m.EXCHANGE_BIND, 0, "y", "x", "", False, None)
    client.call(m.EXCHANGE_BIND, 0, "x", "y", "", False, None)
    client.bind("a", "y")
    client.publish("m", "", "x")
    assert scene.row("a").ready == 1
    client.call(m.EXCHANGE_UNBIND, 0, "y", "x", "", False, None)
    client.publish("m", "", "x")
    assert scene.row("a").ready == 1


def test_copies_of_a_message_have_lives_of_their_own(client):
    for name in ("a", "b"):
        client.queue(name)
        client.bind(name, "amq.fanout")
    client.publish("m", "", "amq.fanout")
    client.consume("a")
    client.nack(1)
    client.consume("b")
    assert [(got.redelivered, got.tag) for got in client.take()] == [(False, 1), (True, 2), (False, 3)]


def test_what_no_binding_takes_goes_to_the_alternate_exchange(scene, client):
    client.exchange("x", alternate_exchange="amq.fanout")
    client.queue("rest")
    client.bind("rest", "amq.fanout")
    assert reaches(scene, client, ["rest"], "x", "whatever") == ["rest"]


def test_unbinding_ends_the_route(scene, client):
    client.queue("a")
    client.exchange("x")
    client.bind("a", "x", "k")
    assert reaches(scene, client, ["a"], "x", "k") == ["a"]
    client.call(m.QUEUE_UNBIND, 0, "a", "x", "k", None)
    client.call(m.QUEUE_UNBIND, 0, "a", "x", "k", None)
    assert reaches(scene, client, ["a"], "x", "k") == []


def test_an_unroutable_message_is_dropped_or_returned(scene, client):
    client.publish("m", "nowhere")
    client.publish("m", "nowhere", mandatory=True)
    assert [event.reason for event in scene.of(Dropped)] == ["unroutable"]
    assert client.answers(m.BASIC_RETURN) == [(312, "NO_ROUTE", "", "nowhere")]
    assert scene.of(Returned)[0].code == 312


# --- declaring


def test_declaring_again_is_idempotent_and_tells_the_counts(client):
    assert client.queue() == ("q", 0, 0)
    client.publish()
    client.consume(no_ack=True)
    client.publish()
    assert client.queue() == ("q", 0, 1)


def test_passive_declaring_only_looks(client):
    client.queue("nope", passive=True)
    assert client.error == (404, "NOT_FOUND - no queue 'nope' in vhost '/'")


def test_passive_declaring_of_an_exchange_only_looks(client):
    client.exchange("nope", passive=True)
    assert client.error == (404, "NOT_FOUND - no exchange 'nope' in vhost '/'")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"durable": False},
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            {"max_priority": 3},
            "inequivalent arg 'x-max-priority' for queue 'q' in vhost '/': "
            "received the value '3' of type 'signedint' but current is none",
        ),
        ({"auto_delete": True}, "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true'"),
    ],
)
def test_declaring_differently_is_refused(client, changed, words):
    client.queue()
    client.queue(**changed)
    code, text = client.error
    assert code == 406
    assert text.startswith(f"PRECONDITION_FAILED - {words}")


def test_the_classic_type_is_the_default(client):
    client.queue()
    client.queue(queue_type="classic")
    assert client.error is None
    client.queue(queue_type="quorum")
    assert client.error[0] == 406


def test_an_exchange_declared_with_another_kind_is_refused(client):
    client.exchange("x", "direct")
    client.exchange("x", "topic")
    assert client.error == (
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': "
        "received 'topic' but current is 'direct'",
    )


@pytest.mark.parametrize(("version", "code"), [("3.10.8", 503), ("4.1", 406)])
def test_an_unknown_kind_of_exchange_is_refused(version, code):
    client = Scene(version).client()
    client.exchange("x", "x-delayed-message")
    assert client.error[0] == code


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_priority": 256},
        {"message_ttl": -1},
        {"expires": 0},
        {"message_ttl": "5000"},
        {"dead_letter_routing_key": "k"},
    ],
)
def test_arguments_that_cannot_be_are_refused(client, arguments):
    client.queue(**arguments)
    assert client.error[0] == 406


def test_the_servers_names_cannot_be_taken(client):
    client.queue("amq.mine")
    assert client.error == (403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'")


def test_an_empty_name_means_a_new_queue_and_afterwards_that_queue(client):
    assert client.queue("") == ("amq.gen-1", 0, 0)
    client.bind("", "amq.direct")
    client.publish("m", "amq.gen-1", "amq.direct")
    assert client.get("") == "m"


def test_the_default_exchange_cannot_be_touched(client):
    client.queue()
    client.bind("q", "", "k")
    assert client.error == (403, "ACCESS_REFUSED - operation not permitted on the default exchange")


def test_what_does_not_exist_closes_the_channel_only(scene, client):
    client.publish("m", "k", "nope")
    assert client.error == (404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
    assert client.answers(m.CHANNEL_CLOSE)[0][2:] == m.BASIC_PUBLISH
    assert scene.server.connections


def test_an_internal_exchange_takes_no_messages_from_clients(client):
    client.exchange("x", internal=True)
    client.publish("m", "k", "x")
    assert client.error == (403, "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'")


def test_virtual_hosts_are_apart_and_made_on_demand(scene, client):
    other = scene.client(vhost="other")
    client.queue("a")
    other.queue("a", durable=False)
    assert other.error is None
    assert [row.vhost for row in scene.server.rows()] == ["/", "other"]


# --- exclusive


LOCKED = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally"


@pytest.mark.parametrize("act", ["queue", "consume", "get", "bind", "passive"])
def test_an_exclusive_queue_is_its_connections_alone(scene, client, act):
    client.queue(exclusive=True)
    other = scene.client()
    if act == "queue":
        other.queue(exclusive=True)
    elif act == "passive":
        other.queue(passive=True)
    elif act == "bind":
        other.bind("q", "amq.direct", "k")
    elif act == "get":
        other.call(m.BASIC_GET, 0, "q", False)
    else:
        other.consume()
    code, text = other.error
    assert code == 405
    assert text.startswith(LOCKED)


def test_anybody_may_publish_to_an_exclusive_queue_and_it_goes_with_its_connection(scene, client):
    client.queue(exclusive=True)
    other = scene.client()
    other.publish()
    assert scene.row().ready == 1
    client.die()
    assert scene.names() == []
    assert [event.reason for event in scene.of(Dropped)] == ["queue deleted"]


# --- going


def test_an_auto_delete_queue_goes_with_its_last_consumer_but_not_before_it_had_one(scene, client):
    client.queue(auto_delete=True)
    client.consume(tag="a")
    client.consume(tag="b")
    client.call(m.BASIC_CANCEL, "a", False)
    assert scene.names() == ["q"]
    client.call(m.BASIC_CANCEL, "b", False)
    assert scene.names() == []


def test_an_auto_delete_queue_of_a_dead_worker_goes_with_what_it_held(scene, client):
    worker = scene.client("w1")
    worker.queue(auto_delete=True)
    worker.qos(1)
    worker.consume()
    client.publish()
    client.publish()
    worker.die()
    assert scene.names() == []
    assert len(scene.of(Dropped)) == 2
    assert scene.server.waiting() == 0


def test_an_auto_delete_exchange_goes_with_its_last_binding(client):
    client.exchange("x", auto_delete=True)
    client.queue("a")
    client.bind("a", "x", "k")
    client.call(m.QUEUE_DELETE, 0, "a", False, False, False)
    client.exchange("x", passive=True)
    assert client.error[0] == 404


def test_deleting_a_queue_tells_its_consumers(scene, client):
    client.queue()
    worker, old = scene.client("w1"), scene.client("w2", cancel_notify=False)
    worker.consume(tag="a")
    old.consume(tag="b")
    client.publish()
    assert client.call(m.QUEUE_DELETE, 0, "q", False, False, False) == (0,)
    assert worker.answers(m.BASIC_CANCEL) == [("a", True)]
    assert old.answers(m.BASIC_CANCEL) == []
    worker.ack(1)
    assert worker.error is None
    assert scene.server.waiting() == 0


def test_who_deletes_a_queue_hears_so_before_its_own_consumer_is_cancelled(client):
    client.queue()
    client.consume(tag="a")
    client.sent.clear()
    client.call(m.QUEUE_DELETE, 0, "q", False, False, False)
    assert [method for _, method, _, _ in client.sent] == [m.QUEUE_DELETE_OK, m.BASIC_CANCEL]


def test_what_was_delivered_from_a_deleted_queue_has_no_place_to_go_back_to(scene, client):
    client.queue()
    client.publish()
    client.get()
    client.call(m.QUEUE_DELETE, 0, "q", False, False, False)
    client.reject(1)
    assert [event.reason for event in scene.of(Dropped)] == ["queue deleted"]
    assert client.error is None


def test_deleting_on_conditions(scene, client):
    client.queue()
    client.publish()
    client.call(m.QUEUE_DELETE, 0, "q", False, True, False)
    assert client.error == (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty")
    other = scene.client()
    other.consume()
    other.call(m.QUEUE_DELETE, 0, "q", True, False, False)
    assert other.error == (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use")


def test_deleting_what_is_not_there_is_no_error(client):
    assert client.call(m.QUEUE_DELETE, 0, "nope", False, False, False) == (0,)
    assert client.call(m.EXCHANGE_DELETE, 0, "nope", False, False) == ()


def test_purging_leaves_what_is_delivered(scene, client):
    client.queue()
    for _ in range(3):
        client.publish()
    client.get()
    assert client.call(m.QUEUE_PURGE, 0, "q", False) == (2,)
    assert (scene.row().ready, scene.row().unacked) == (0, 1)
    assert {event.reason for event in scene.of(Dropped)} == {"queue purged"}


def test_a_lease_ends_when_a_queue_is_unused_for_so_long(scene, client):
    client.queue(expires=10_000)
    scene.clock.advance(9)
    client.queue(expires=10_000)
    scene.clock.advance(9)
    client.consume(tag="a")
    scene.clock.advance(60)
    client.call(m.BASIC_CANCEL, "a", False)
    scene.clock.advance(9)
    client.get()
    scene.clock.advance(9.9)
    assert scene.names() == ["q"]
    scene.clock.advance(0.1)
    assert scene.names() == []


def test_from_4_3_on_a_transient_queue_must_be_exclusive():
    client = Scene("4.3").client()
    client.queue("mine", durable=False, exclusive=True)
    assert client.error is None
    client.queue("shared", durable=False)
    assert client.error[0] == 541


def test_streams_are_refused_with_a_reason(client):
    with pytest.raises(UnsupportedError, match="queue 'q' in vhost '/' is a stream"):
        client.queue(queue_type="stream")


def test_a_kind_of_queue_that_does_not_exist_is_refused(client):
    client.queue(queue_type="fancy")
    assert client.error[0] == 406


@pytest.mark.parametrize("version", ["", "new", "4.x"])
def test_a_version_is_made_of_numbers(version):
    with pytest.raises(UsageError, match="is not a version"):
        Scene(version)
