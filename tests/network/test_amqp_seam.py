"""py-amqp and kombu as shipped, over simulated wires, to the simulated RabbitMQ."""

from __future__ import annotations

import datetime
import decimal
import enum
from collections.abc import Iterator
from typing import Any

import amqp
import kombu
import pytest
from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps, loads
from hypothesis import given
from hypothesis import strategies as st

from tasksim.broker.amqp.listener import AmqpListener
from tasksim.broker.amqp.methods import FROM_CLIENT, FROM_SERVER
from tasksim.broker.amqp.server import Server
from tasksim.events import Disconnected, Event, Requeued
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.message import Serials
from tasksim.network import amqp_seam
from tasksim.network.wire import Network
from tasksim.patching.table import Patches
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix


class AmqpWorld:
    """Kernel, Unix, network and one RabbitMQ; the test is the process "client"."""

    def __init__(self) -> None:
        self.kernel = Kernel(UnixProcess(1, "client"))
        self.unix, self.network = Unix(self.kernel), Network(self.kernel)
        self.events: list[Event] = []
        self.server = Server("rabbit", self.kernel, self.events.append, self.now, Serials())
        listener = AmqpListener(self.server)
        self.asked: list[tuple[str, int]] = []

        def server_at(host: str, port: int) -> AmqpListener:
            self.asked.append((host, port))
            return listener

        self.amqp_seam = amqp_seam.AmqpSeam(self.unix, self.network, server_at, FROM_CLIENT, FROM_SERVER)

    def now(self) -> float:
        return self.kernel.now_ns / SECOND

    def connect(self, **options: Any) -> kombu.Connection:
        return kombu.Connection("pyamqp://guest@broker:5673//", **options)


@pytest.fixture
def world() -> Iterator[AmqpWorld]:
    made, patches = AmqpWorld(), Patches()
    patches.install(amqp_seam.ROWS, made)
    yield made
    patches.restore()
    made.kernel.close()


def test_the_handshake_is_py_amqps_own(world):
    connection = world.connect(heartbeat=10).connect()
    assert world.asked == [("broker", 5673)]
    assert connection.server_properties["product"] == "RabbitMQ"
    assert connection.heartbeat == 10
    assert connection.connected
    assert connection.client_properties["capabilities"]["consumer_cancel_notify"]


def test_a_message_goes_from_kombu_to_kombu(world):
    connection = world.connect()
    queue = connection.SimpleQueue("simple")
    queue.put({"a": 1}, headers={"h": (1, 2)})
    message = queue.get(timeout=1)
    assert message.payload == {"a": 1}
    assert message.headers == {"h": [1, 2]}
    assert message.delivery_info["routing_key"] == "simple"
    message.ack()
    assert world.server.rows()[0].unacked == 0


def test_waiting_takes_virtual_time_only(world):
    connection = world.connect()
    queue = connection.SimpleQueue("simple")
    with pytest.raises(queue.Empty):
        queue.get(timeout=3600)
    assert world.now() == 3600


def test_looking_without_waiting_finds_nothing(world):
    connection = world.connect()
    connection.connect()
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0)
    assert world.now() == 0


def test_looking_for_ever_without_waiting_costs_time(world):
    connection = world.connect()
    connection.connect()
    while world.now() < 1:
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0)


def test_publishing_costs_no_time_however_often(world):
    with world.connect() as connection:
        channel = connection.channel()
        for _ in range(500):
            channel.basic_publish(amqp.Message("m"), routing_key="nowhere")
    assert world.now() == 0


def test_errors_come_by_code_and_the_channel_can_be_used_again(world):
    channel = world.connect().channel()
    with pytest.raises(amqp.exceptions.NotFound, match="no queue 'nope' in vhost '/'"):
        channel.queue_declare("nope", passive=True)
    with pytest.raises(amqp.exceptions.NotFound):
        channel.queue_declare("nope", passive=True)


def test_a_confirmed_publish_waits_for_its_confirm(world):
    connection = world.connect(transport_options={"confirm_publish": True})
    channel = connection.channel()
    channel.queue_declare("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}, auto_delete=False)
    channel.basic_publish(amqp.Message("in"), routing_key="q")
    with pytest.raises(amqp.exceptions.MessageNacked):
        channel.basic_publish(amqp.Message("out"), routing_key="q")


def test_the_deletion_of_a_queue_cancels_its_consumers(world):
    channel = world.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    cancelled: list[str] = []
    channel.basic_consume("q", "tag", callback=print, on_cancel=cancelled.append)
    world.connect().channel().queue_delete("q")
    channel.connection.drain_events(timeout=1)
    assert cancelled == ["tag"]


def test_a_lost_connection_is_an_error_of_the_next_read_and_write(world):
    connection = world.connect()
    channel = connection.channel()
    world.server.stop()
    with pytest.raises(OSError, match="unexpectedly closed"):
        connection.drain_events(timeout=1)
    assert not connection.connected
    with pytest.raises(connection.recoverable_connection_errors):
        channel.basic_publish(amqp.Message("m"))
    with pytest.raises(ConnectionRefusedError):
        world.connect().connect()


def test_a_program_that_has_closed_its_own_socket_learns_so_at_the_next_read(world):
    connection = world.connect()
    socket = connection.connect().transport.sock
    socket.shutdown(2)
    socket.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        connection.drain_events(timeout=1)
    assert world.now() == 0


def test_what_arrived_before_the_end_is_still_read(world):
    connection = world.connect()
    channel = connection.channel()
    channel.queue_declare("q", auto_delete=False)
    got: list[str] = []
    channel.basic_consume("q", callback=lambda message: got.append(message.body), no_ack=True)
    world.connect().channel().basic_publish(amqp.Message("last"), routing_key="q")
    world.server.stop()
    connection.drain_events(timeout=1)
    assert got == ["last"]


def test_a_killed_process_gives_back_what_it_held(world):
    def work():
        channel = world.connect().channel()
        channel.queue_declare("q", auto_delete=False)
        channel.basic_consume("q", callback=print)
        world.kernel.sleep(1000)

    worker = world.unix.exec("w1", work)
    world.kernel.sleep(1)
    world.connect().channel().basic_publish(amqp.Message("m"), routing_key="q")
    assert world.server.waiting() == 1
    world.unix.exit(worker, 9)
    assert [event.reason for event in world.events if isinstance(event, Disconnected)] == ["process died"]
    assert [event.reason for event in world.events if isinstance(event, Requeued)] == ["connection closed"]


def test_a_closed_connection_ends_with_both_sides_agreeing(world):
    connection = world.connect()
    connection.connect()
    connection.close()
    assert [event.reason for event in world.events if isinstance(event, Disconnected)] == ["closed"]
    assert world.server.connections == {}
    assert world.network.wires == {}


def test_latency_delays_each_way(world):
    world.network.latency = 0.25
    world.connect().connect()
    # start; start-ok, tune; tune-ok and open together, open-ok
    assert world.now() == pytest.approx(0.25 + 0.5 + 0.5)


def test_nobody_shares_a_dictionary_with_another_process(world):
    channel = world.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    headers = {"nested": {"list": [1]}}
    channel.basic_publish(amqp.Message("m", application_headers=headers), routing_key="q")
    headers["nested"]["list"].append(2)
    first = channel.basic_get("q")
    first.headers["nested"]["list"].append(3)
    first.headers["new"] = 1
    channel.basic_reject(first.delivery_tag, requeue=True)
    assert channel.basic_get("q").headers == {"nested": {"list": [1]}}


class Colour(enum.IntEnum):
    RED = 1


def test_values_change_on_their_way_as_on_a_real_one(world):
    channel = world.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    sent = {
        "date": datetime.datetime(2026, 1, 1, 12, 0, 0, 999999, datetime.UTC),
        "decimal": decimal.Decimal("1.5"),
        "text as bytes": b"abc",
        "bytes": b"\xff",
        "enum": Colour.RED,
        "none": None,
        "flag": True,
        "tuple": (1, ("a",)),
    }
    expected = loads("F", dumps("F", [sent]), 0)[0][0]
    channel.basic_publish(amqp.Message("m", application_headers=sent, priority=None), routing_key="q")
    got = channel.basic_get("q")
    assert got.headers == expected
    assert type(got.headers["enum"]) is int
    assert "priority" not in got.properties


def test_what_cannot_be_sent_is_refused_in_py_amqps_words(world):
    channel = world.connect().channel()
    with pytest.raises(FrameSyntaxError):
        channel.basic_publish(amqp.Message("m", application_headers={"set": {1}}), routing_key="q")


def test_text_bodies_are_encoded_and_decoded_as_py_amqp_does(world):
    channel = world.connect().channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_publish(amqp.Message("grün"), routing_key="q")
    got = channel.basic_get("q")
    assert (got.body, got.content_encoding) == ("grün", "utf-8")


short = st.text(max_size=40)
bits = st.booleans()


@given(short, short, bits, bits)
def test_the_quick_reading_of_a_publish_is_py_amqps(exchange, key, mandatory, immediate):
    encoded = dumps("Bssbb", (0, exchange, key, mandatory, immediate))
    assert list(amqp_seam._read_publish(encoded)) == loads("Bssbb", encoded, 0)[0]


@given(short, st.integers(1, 2**63), bits, short, short)
def test_the_quick_writing_of_a_delivery_is_py_amqps(consumer, tag, redelivered, exchange, key):
    args = (consumer, tag, redelivered, exchange, key)
    assert amqp_seam._write_deliver({}, *args)[4:] == dumps("sLbss", args)
