"""What the trace tells of task messages on Redis; kombu's transport runs as shipped, without Celery."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
import redis

from tasksim.broker import redis_rows
from tasksim.broker.redis_watch import RedisWatch
from tasksim.events import Acked, Delivered, Dropped, Event, Published, Queued, Redelivered, Rejected, Requeued
from tasksim.patching.table import Row
from tasksim.unix.poll import Epoll
from tests.redis_scene import World

MESSAGES = (Published, Queued, Delivered, Acked, Rejected, Requeued, Dropped)
EPOLL = Row("kombu.utils.eventio:epoll", "it parks", lambda world: lambda: Epoll(world.unix))
OPTIONS = {"visibility_timeout": 10, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}


class KombuWorld(World):
    """A world whose messages are watched."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.redis_watch = RedisWatch(self.kernel, self.record, self.now, self.serials, self.redis)

    def install(self) -> None:
        super().install()
        self.patches.install((EPOLL, *redis_rows.ROWS), self)

    def messages(self) -> list[str]:
        """The events of messages, each as "kind process message"."""
        return [f"{type(event).__name__} {event.process} {event.message}" for event in self.seen(*MESSAGES)]

    def consume(self, name: str, act: Callable[[Any], object], prefetch: int = 0, **options: Any) -> Any:
        """A process that consumes from the queue "celery" and does this with each message."""

        def works() -> None:
            with kombu.Connection("redis://", transport_options=OPTIONS | options) as connection:
                channel = connection.channel()
                channel.basic_qos(0, prefetch, False)
                queue = kombu.Queue("celery")
                with kombu.Consumer(channel, [queue], on_message=act):
                    while True:
                        with contextlib.suppress(TimeoutError):
                            connection.drain_events(timeout=0.5)  # shorter than BRPOP's second: else no sweep

        return self.process(name, works)


@pytest.fixture
def world() -> Iterator[KombuWorld]:
    made = KombuWorld()
    made.install()
    yield made
    made.close()


def publish(text: str = "hello", queue: str = "celery", **headers: object) -> None:
    """Publish a task message, as Celery's second protocol has it."""
    with kombu.Connection("redis://") as connection:
        producer = connection.Producer()
        all_headers = {"task": "app.add", "id": f"id-{text}", "retries": 0, "eta": None, **headers}
        producer.publish(text, routing_key=queue, headers=all_headers, declare=[kombu.Queue(queue)])


def test_a_message_is_published_queued_delivered_and_acknowledged(world: KombuWorld) -> None:
    world.consume("w1", lambda message: message.ack())
    world.sleep(1.5)
    publish("a")
    world.sleep(1)
    assert world.seen(*MESSAGES) == [
        Published(1.5, "client", 1, "", "celery", "id-a", "app.add", 0, None),
        Queued(1.5, "client", 1, "celery", "id-a"),
        Delivered(1.5, "w1", 1, 1, "celery", "id-a", "app.add", False, channel=1),
        Acked(1.5, "w1", 1, 1, "celery", "id-a"),
    ]


def test_queued_comes_before_delivered_also_with_latency(world: KombuWorld) -> None:
    world.network.latency = 0.005
    world.consume("w1", lambda message: message.ack())
    world.sleep(1.5)
    publish("a")
    world.sleep(1)
    assert world.messages() == ["Published client 1", "Queued client 1", "Delivered w1 1", "Acked w1 1"]


def test_messages_without_a_task_are_not_told_of(world: KombuWorld) -> None:
    world.consume("w1", lambda message: message.ack())
    with kombu.Connection("redis://") as connection:
        connection.Producer().publish("news", routing_key="celery", declare=[kombu.Queue("celery")])
    world.sleep(2)
    assert world.messages() == []
    assert world.redis_watch.waiting() == (0, 0)


def test_the_visibility_timeout_gives_a_dead_processes_message_to_another(world: KombuWorld) -> None:
    publish("a")
    victim = world.consume("w1", lambda _: None)
    world.sleep(1)
    world.kill(victim)
    world.consume("w2", lambda message: message.ack())
    world.sleep(30)
    assert world.messages() == [
        "Published client 1",
        "Queued client 1",
        "Delivered w1 1",
        "Requeued w2 1",
        "Redelivered w2 1",
        "Acked w2 1",
    ]
    requeued, again = world.seen(Requeued)[0], world.seen(Redelivered)[0]
    assert requeued.reason == "visibility timeout"
    assert requeued.time > 10
    assert (again.delivery, again.redelivered) == (2, True)


def test_equal_messages_are_restored_newest_first_whatever_their_tags(world: KombuWorld) -> None:
    for text in "abcd":
        publish(text)
    victim = world.consume("w1", lambda _: None)
    world.sleep(1)
    world.kill(victim)
    world.consume("w2", lambda message: message.ack())
    world.sleep(30)
    assert [event.task_id for event in world.seen(Requeued)] == ["id-d", "id-c", "id-b", "id-a"]


@pytest.mark.parametrize("latency", [0.0, 0.25])
def test_a_message_that_was_popped_for_a_process_which_dies_unread_is_lost_and_told(
    world: KombuWorld, latency: float
) -> None:
    world.network.latency = latency
    victim = world.consume("w1", lambda message: message.ack())
    world.sleep(10)
    if latency:
        world.process("client2", lambda: publish("a"))
        while not world.seen(Queued) or world.server.lengths():
            world.sleep(latency / 4)  # the answer is on its way
    else:
        publish("a")  # the answer has arrived
    world.kill(victim)
    world.sleep(30)
    assert [event.split()[0] for event in world.messages()] == ["Published", "Queued", "Dropped"]
    assert [event.reason for event in world.seen(Dropped)] == ["popped and never read"]
    assert world.redis_watch.waiting() == (0, 0)


def test_a_message_that_was_read_and_not_noted_before_a_cut_is_lost_and_told(world: KombuWorld) -> None:
    world.network.latency = 0.25
    errors: list[str] = []

    def works() -> None:
        with kombu.Connection("redis://", transport_options=OPTIONS) as connection:
            try:
                with kombu.Consumer(connection.channel(), [kombu.Queue("celery")], on_message=lambda _: None):
                    while True:
                        with contextlib.suppress(TimeoutError):
                            connection.drain_events(timeout=0.5)
            except connection.connection_errors as exc:
                errors.append(type(exc).__name__)

    consumer = world.process("w1", works)
    world.sleep(10)
    world.process("client2", lambda: publish("a"))
    while not world.seen(Delivered):
        world.sleep(0.125)  # what puts it down as unacknowledged is on its way
    for wire in world.network.of([consumer]):
        wire.cut()
    world.sleep(30)
    assert errors
    assert [event.split()[0] for event in world.messages()] == ["Published", "Queued", "Delivered", "Dropped"]
    assert [event.reason for event in world.seen(Dropped)] == ["popped and never noted"]


def test_what_a_process_sent_before_it_died_arrives(world: KombuWorld) -> None:
    world.network.latency = 0.25
    victim = world.consume("w1", lambda _: None)
    world.sleep(10)
    world.process("client2", lambda: publish("a"))
    while not world.seen(Delivered):
        world.sleep(0.125)
    world.kill(victim)
    world.sleep(0.5)
    assert world.server.unacked() == 1
    world.consume("w2", lambda message: message.ack())
    world.sleep(30)
    assert [event.split()[0] for event in world.messages()][2:] == ["Delivered", "Requeued", "Redelivered", "Acked"]


def test_a_rejected_message_goes_back_or_away(world: KombuWorld) -> None:
    seen: list[str] = []

    def act(message: Any) -> None:
        seen.append(message.body)
        message.reject(requeue=len(seen) == 1)

    world.consume("w1", act)
    publish("a")
    world.sleep(3)
    assert world.messages() == [
        "Published client 1",
        "Queued client 1",
        "Delivered w1 1",
        "Rejected w1 1",
        "Requeued w1 1",
        "Redelivered w1 1",
        "Rejected w1 1",
    ]
    assert [event.requeue for event in world.seen(Rejected)] == [True, False]
    assert world.seen(Requeued)[0].reason == "rejected"


def test_closing_a_channel_gives_its_messages_back(world: KombuWorld) -> None:
    def works() -> None:
        with kombu.Connection("redis://", transport_options=OPTIONS) as connection:
            channel = connection.channel()
            message = channel.basic_get("celery")
            assert message is not None
            channel.close()

    publish("a")
    world.process("w1", works)
    world.sleep(1)
    assert world.messages() == ["Published client 1", "Queued client 1", "Delivered w1 1", "Requeued w1 1"]
    assert world.seen(Requeued)[0].reason == "channel closed"


def test_a_late_acknowledgement_is_the_first_deliverys(world: KombuWorld) -> None:
    held: list[Any] = []

    def hold(message: Any) -> None:
        held.append(message)
        if len(held) == 2:
            for one in held:
                one.ack()

    world.consume("w1", hold)
    publish("a")
    world.sleep(40)
    assert [event.delivery for event in world.seen(Delivered)] == [1, 2]
    assert [event.delivery for event in world.seen(Acked)] == [1, 2]


def test_a_message_for_several_queues_is_one_message_in_the_order_of_names(world: KombuWorld) -> None:
    exchange = kombu.Exchange("topics", type="topic")
    queues = [kombu.Queue(name, exchange, routing_key="a.#") for name in ("q3", "q1", "q2")]
    with kombu.Connection("redis://") as connection:
        headers = {"task": "app.add", "id": "id-a"}
        connection.Producer().publish("x", exchange=exchange, routing_key="a.b", headers=headers, declare=queues)
    assert [(event.message, event.queue) for event in world.seen(Queued)] == [(1, "q1"), (1, "q2"), (1, "q3")]


def test_a_purged_queue_and_a_restart_lose_messages_and_say_so(world: KombuWorld) -> None:
    publish("a")
    with kombu.Connection("redis://") as connection:
        assert connection.channel().queue_purge("celery") == 1
    publish("b")
    publish("c")
    world.consume("w1", lambda _: None, prefetch=1)
    world.sleep(1)
    world.server.stop()
    world.server.start()
    dropped = [(event.task_id, event.queue, event.reason) for event in world.seen(Dropped)]
    assert dropped[0] == ("id-a", "celery", "deleted")
    assert sorted(dropped[1:]) == [
        ("id-b", "celery", "server restarted"),
        ("id-c", "celery", "server restarted"),
    ]


def test_a_publication_whose_answer_is_lost_is_queued_all_the_same(world: KombuWorld) -> None:
    world.network.latency = 0.01
    failed: list[type[Exception]] = []

    def works() -> None:
        try:
            publish("a")
        except Exception as exc:
            failed.append(type(exc))

    world.process("p1", works)
    while not world.seen(Queued):
        world.kernel.sleep(0.001)
    for number in list(world.server.connections):
        world.server.sever(number)
    world.kernel.sleep(1)
    assert failed
    assert [event.task_id for event in world.seen(Queued)][:1] == ["id-a"]
    assert world.server.lengths()["celery"] >= 1


def test_what_waits_is_counted_for_living_consumers_only(world: KombuWorld) -> None:
    watch = world.redis_watch
    publish("a")
    assert watch.waiting() == (0, 0)
    victim = world.consume("w1", lambda _: None, prefetch=2)
    world.sleep(1)
    for text in "bcd":
        publish(text)
    world.sleep(1)
    assert watch.waiting() == (2, 2)
    rows = watch.rows()["celery"]
    assert (rows.ready, rows.unacked, rows.consumers) == (2, 2, 1)
    world.kill(victim)
    assert watch.waiting() == (0, 0)
    world.consume("w2", lambda message: message.ack())
    world.sleep(1)
    assert watch.waiting() == (0, 2)
    world.sleep(30)
    assert watch.waiting() == (0, 0)


def test_priorities_and_a_key_prefix_do_not_change_a_queues_name(world: KombuWorld) -> None:
    options = {"global_keyprefix": "app:", "priority_steps": [0, 5]}
    world.consume("w1", lambda message: message.ack(), **options)
    with kombu.Connection("redis://", transport_options=options) as connection:
        headers = {"task": "app.add", "id": "id-a"}
        connection.Producer().publish("x", routing_key="celery", priority=7, headers=headers)
        assert world.redis_watch.waiting() in ((1, 0), (0, 0))
    world.sleep(1)
    assert [event.queue for event in world.seen(Queued, Delivered, Acked)] == ["celery"] * 3


def test_a_drained_connection_waits_in_virtual_time(world: KombuWorld) -> None:
    with (
        kombu.Connection("redis://") as connection,
        kombu.Consumer(connection, [kombu.Queue("celery")]),
        pytest.raises(socket.timeout),
    ):
        connection.drain_events(timeout=7)
    assert world.now() == pytest.approx(7, abs=1.1)


def test_a_blocked_consumer_is_cut_and_comes_back(world: KombuWorld) -> None:
    failures: list[float] = []

    def works() -> None:
        while True:
            try:
                with kombu.Connection("redis://") as connection:
                    queue = connection.SimpleQueue("celery")
                    queue.get(timeout=60).ack()
                    return
            except redis.ConnectionError:
                failures.append(world.now())

    world.process("w1", works)
    world.sleep(2.5)
    world.server.sever(next(reversed(world.server.connections)))
    world.sleep(1)
    publish("a")
    world.sleep(2)
    assert [type(event) for event in world.seen(*MESSAGES)] == [Published, Queued, Delivered, Acked]


def test_all_events_are_of_the_vocabulary(world: KombuWorld) -> None:
    publish("a")
    assert all(isinstance(event, Event) for event in world.events)


def test_two_consumers_share_what_waits_in_a_queue(world: KombuWorld) -> None:
    for text in "abcdef":
        publish(text)
    for name in ("w1", "w2"):
        world.consume(name, lambda message: message.ack())
    world.sleep(1)
    assert [event.process for event in world.seen(Delivered)] == ["w1", "w2"] * 3
