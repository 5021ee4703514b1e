"""Handshake, errors that close the connection, heartbeats, and the end of a connection."""

import pytest

from tasksim.broker.amqp import methods as m
from tasksim.broker.amqp.listener import AmqpListener
from tasksim.events import Connected, Disconnected
from tests.amqp_scene import Scene


@pytest.fixture
def scene():
    return Scene()


def test_the_server_introduces_itself_as_rabbitmq(scene):
    client = scene.client()
    ((major, minor, properties, mechanisms, locales),) = client.answers(m.CONNECTION_START)
    assert (major, minor, mechanisms, locales) == (0, 9, "PLAIN AMQPLAIN", "en_US")
    assert (properties["product"], properties["version"]) == ("RabbitMQ", "4.1.0")
    assert properties["capabilities"]["consumer_cancel_notify"]
    assert client.answers(m.CONNECTION_TUNE) == [(2047, 131072, 60)]
    assert client.answers(m.CONNECTION_OPEN_OK) == [("",)]


def test_a_connection_closed_by_the_client_is_answered_and_ended(scene):
    client = scene.client("w1")
    client.close()
    assert client.answers(m.CONNECTION_CLOSE_OK) == [()]
    assert client.gone == "closed"
    assert scene.server.connections == {}
    assert [type(event) for event in scene.events] == [Connected, Disconnected]
    client.connection.lost("late")
    assert len(scene.of(Disconnected)) == 1


@pytest.mark.parametrize(
    ("method", "args", "code", "words"),
    [
        (m.BASIC_PUBLISH, (0, "", "q", False, True), 540, "NOT_IMPLEMENTED - immediate=true"),
        (m.BASIC_QOS, (1, 0, False), 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)"),
        (m.BASIC_RECOVER, (False,), 540, "NOT_IMPLEMENTED - requeue=false"),
        (m.CHANNEL_FLOW, (False,), 540, "NOT_IMPLEMENTED - active=false"),
        (m.CHANNEL_OPEN, ("",), 504, "CHANNEL_ERROR - second 'channel.open' seen"),
        ((60, 99), (), 503, "COMMAND_INVALID - unimplemented method"),
    ],
)
def test_hard_errors_close_the_connection(scene, method, args, code, words):
    client = scene.client()
    client.queue()
    client.publish()
    client.consume()
    client.call(method, *args)
    assert client.error == (code, words)
    assert scene.row().ready == 1
    client.queue("ignored")
    assert scene.names() == ["q"]
    client.call(m.CONNECTION_CLOSE_OK, channel=0)
    assert client.gone == words
    assert scene.of(Disconnected)[0].reason == words


def test_reusing_a_consumer_tag_closes_the_connection(scene):
    client = scene.client()
    client.queue()
    client.consume(tag="a")
    client.consume(tag="a")
    assert client.error == (530, "NOT_ALLOWED - attempt to reuse consumer tag 'a'")


def test_a_method_on_a_channel_that_is_not_open_closes_the_connection(scene):
    client = scene.client()
    client.queue("q", channel=5)
    assert client.error == (504, "CHANNEL_ERROR - expected 'channel.open'")


def test_a_client_that_never_says_close_ok_is_hung_up_on(scene):
    client = scene.client()
    client.call(m.CHANNEL_OPEN, "")
    scene.clock.advance(30)
    assert client.gone is not None


def test_long_error_texts_are_cut_to_what_a_short_string_holds(scene):
    client = scene.client()
    client.queue("n" * 255, passive=True)
    assert len(client.error[1]) == 255
    assert client.error[1].endswith("...")


def test_the_server_sends_a_heartbeat_when_it_has_said_nothing_for_half_the_interval(scene):
    client = scene.client(heartbeat=60)
    for _ in range(4):
        scene.clock.advance(30)
        client.call(m.HEARTBEAT, channel=0)
    assert len(client.answers(m.HEARTBEAT)) == 3  # the first interval had the handshake
    assert client.gone is None


def test_a_silent_client_is_given_up_after_two_to_three_intervals(scene):
    client = scene.client(heartbeat=60)
    scene.clock.advance(179)
    assert client.gone is None
    scene.clock.advance(1)
    assert client.gone == "missed heartbeats from client, timeout: 60s"
    assert scene.server.connections == {}


def test_without_heartbeats_silence_is_no_matter(scene):
    client = scene.client()
    scene.clock.advance(10_000)
    assert client.gone is None
    assert client.answers(m.HEARTBEAT) == []


def test_a_listener_serves_wires(scene):
    class Wire:
        def __init__(self):
            self.owner, self.sent, self.ended = scene.client("w1"), [], False

        def reply(self, payload):
            self.sent.append(payload)

        def hang_up(self):
            self.ended = True

    listener, wire = AmqpListener(scene.server), Wire()
    end = listener.accept(wire)
    assert listener.name == "rabbit"
    assert wire.sent[0][:2] == (0, m.CONNECTION_START)
    end.receive((0, m.CONNECTION_CLOSE, (0, "", 0, 0), None))
    assert wire.ended
    end.lost("closed")


def test_an_alarm_blocks_who_publishes_and_nobody_else(scene):
    publisher, old, consumer = scene.client("p"), scene.client("old", blocked_notify=False), scene.client("c")
    consumer.queue()
    consumer.consume()
    scene.server.raise_alarm("low on memory")
    for client in (publisher, old):
        for body in ("first", "second"):
            client.publish(client.name + body)
    assert consumer.bodies() == ["pfirst", "oldfirst"]
    assert publisher.answers(m.CONNECTION_BLOCKED) == [("low on memory",)]
    assert old.answers(m.CONNECTION_BLOCKED) == []
    assert publisher.queue(passive=True) is None
    consumer.ack(1)
    scene.server.clear_alarm()
    assert consumer.bodies() == ["psecond", "oldsecond"]
    assert [len(one.answers(m.CONNECTION_UNBLOCKED)) for one in (publisher, old, consumer)] == [1, 0, 0]
    assert publisher.queue(passive=True) == ("q", 0, 1)


def test_a_blocked_connection_is_not_given_up_for_its_silence(scene):
    client = scene.client(heartbeat=60)
    client.queue()
    scene.server.raise_alarm("low on disk")
    client.publish()
    scene.clock.advance(600)
    assert client.gone is None
    scene.server.clear_alarm()
    scene.clock.advance(600)
    assert client.gone is not None


def test_what_a_blocked_client_sent_is_gone_with_its_connection(scene):
    publisher, other = scene.client("publisher"), scene.client("other")
    other.queue("q")
    scene.server.raise_alarm("low on memory")
    publisher.publish("read")
    publisher.publish("unread")
    publisher.die()
    scene.server.clear_alarm()
    assert scene.row().ready == 1
    assert other.get() == "read"


def test_a_lost_node_takes_its_classic_queues_with_it_and_brings_them_back(scene):
    client = scene.client()
    client.queue("durable")
    client.queue("transient", durable=False)
    client.queue("quorum", queue_type="quorum")
    client.exchange("x", durable=False)
    for queue in ("durable", "quorum"):
        client.bind(queue, "x", "k")
    client.publish("kept", "k", "x", delivery_mode=2)
    scene.server.lose_node()
    scene.server.start()
    assert client.gone == "server stopped"
    assert scene.names() == ["quorum"]
    late = scene.client("late")
    words = "NOT_FOUND - home node 'rabbit@rabbit' of durable queue 'durable' in vhost '/' is down or inaccessible"
    for method, args in (
        (m.QUEUE_DECLARE, (0, "durable", False, True, False, False, False, {})),
        (m.QUEUE_DECLARE, (0, "durable", True, True, False, False, False, {})),
        (m.QUEUE_DELETE, (0, "durable", False, False, False)),
        (m.BASIC_GET, (0, "durable", True)),
    ):
        late.call(method, *args)
        assert late.error == (404, words)
        late.call(m.CHANNEL_CLOSE_OK)
        late.open()
    late.publish("meanwhile", "k", "x", delivery_mode=2)
    late.publish("away", "durable", delivery_mode=2, mandatory=True)
    assert [args[0] for args in late.answers(m.BASIC_RETURN)] == [312]
    assert late.get("quorum") == "kept"
    assert late.get("quorum") == "meanwhile"
    scene.server.node_back()
    assert late.get("durable") == "kept"
    assert late.get("durable") is None
    late.publish("again", "k", "x", delivery_mode=2)
    assert late.get("durable") == "again"
    assert scene.names() == ["quorum", "durable"]


def test_what_nobody_confirmed_is_lost_with_a_crash_for_as_long_as_is_said(scene):
    client, sure = scene.client(), scene.client("sure")
    client.queue("q")
    sure.call(m.CONFIRM_SELECT, False)
    client.publish("old", delivery_mode=2)
    scene.clock.advance(1)
    client.publish("new", delivery_mode=2)
    sure.publish("confirmed", delivery_mode=2)
    scene.server.stop("kill", 0.5)
    scene.server.start()
    late = scene.client("late")
    assert [late.get(), late.get(), late.get()] == ["old", "confirmed", None]
