"""No message of the AMQP server is ever in two places, or in none without a reason in the trace."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tasksim.broker.amqp import methods as m
from tasksim.events import Acked, Dropped, MessageExpired, Published, Rejected
from tests.amqp_scene import Scene

queue_arguments = st.fixed_dictionaries(
    {},
    optional={
        "message_ttl": st.sampled_from([0, 500, 3000]),
        "max_length": st.integers(0, 3),
        "overflow": st.sampled_from(["drop-head", "reject-publish", "reject-publish-dlx"]),
        "max_priority": st.integers(1, 3),
        "dead_letter_exchange": st.just(""),
        "queue_type": st.sampled_from(["classic", "quorum"]),
    },
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from([None, "0", "700", "4000"])),
        st.tuples(st.just("settle"), st.sampled_from(["ack", "requeue", "reject"])),
        st.tuples(st.just("advance"), st.sampled_from([0.3, 1.0, 5.0])),
        st.tuples(st.just("die"), st.none()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("purge"), st.none()),
    ),
    max_size=30,
)


class World:
    def __init__(self, arguments, prefetch):
        if "max_priority" in arguments:
            arguments.pop("queue_type", None)
        if "dead_letter_exchange" in arguments:
            arguments["dead_letter_routing_key"] = "dead"
        self.has_dead_letters = "dead_letter_exchange" in arguments
        self.scene, self.prefetch = Scene(), prefetch
        self.join()
        self.client.queue("dead")
        self.client.queue("q", **arguments)
        self.subscribe()

    def join(self):
        self.client, self.worker = self.scene.client("client"), self.scene.client("w1")
        self.held = []

    def subscribe(self):
        if self.prefetch:
            self.worker.qos(self.prefetch)
            self.worker.consume()

    def do(self, step, value):
        scene, worker = self.scene, self.worker
        if step == "publish":
            properties = {"delivery_mode": 2, "priority": 1} | ({} if value is None else {"expiration": value})
            self.client.publish("m", **properties)
        elif step == "advance":
            scene.clock.advance(value)
        elif step == "die":
            worker.die()
            self.worker, self.held = scene.client("w1"), []
            self.subscribe()
        elif step == "restart":
            scene.restart()
            self.join()
            self.subscribe()
        elif step == "purge":
            self.client.call(m.QUEUE_PURGE, 0, "q", False)
        elif self.held:
            tag = self.held.pop(0)
            if value == "ack":
                worker.ack(tag)
            else:
                worker.reject(tag, requeue=value == "requeue")
        self.held += [got.tag for got in self.worker.take()]


@given(queue_arguments, st.integers(0, 2), steps)
@settings(max_examples=200, deadline=None)
def test_each_message_is_in_one_place_or_has_left_for_one_reason(arguments, prefetch, script):
    world = World(arguments, prefetch)
    scene = world.scene
    for step, value in script:
        world.do(step, value)
        rows = scene.server.rows()
        left = Counter(event.message for event in scene.of(Acked))
        left += Counter(event.message for event in scene.of(Dropped))
        if not world.has_dead_letters:
            left += Counter(event.message for event in scene.of(MessageExpired))
            left += Counter(event.message for event in scene.of(Rejected) if not event.requeue)
        assert all(count == 1 for count in left.values())
        assert len(scene.of(Published)) == len(left) + sum(row.ready + row.unacked for row in rows)
        assert scene.row().unacked == len(world.held)
        assert world.client.error is None
        assert world.worker.error is None
