"""What holds of the AMQP server whatever clients do and whoever dies."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tasksim.broker.amqp import methods as m
from tests.amqp_scene import Scene

WORKERS = 3
PREFETCH = 4
workers = st.integers(0, WORKERS - 1)


class Broker(RuleBasedStateMachine):
    """One durable queue, some workers, one publisher that waits for confirms; all messages persistent."""

    global_limit = False

    def __init__(self):
        super().__init__()
        self.scene = Scene()
        self.publisher = self._publisher()
        self.publisher.queue()
        self.confirmed: set[str] = set()
        self.acked: set[str] = set()
        self.published = 0
        self.workers = [self._worker(number) for number in range(WORKERS)]
        self.held: list[dict[int, str]] = [{} for _ in range(WORKERS)]
        self._look()

    def _publisher(self):
        client = self.scene.client("client")
        client.call(m.CONFIRM_SELECT, False)
        return client

    def _worker(self, number):
        client = self.scene.client(f"w{number}")
        client.qos(PREFETCH, together=self.global_limit)
        client.consume()
        if self.global_limit:
            client.consume()
        return client

    def _look(self):
        """Take in what was delivered, and check its order: what is new goes out in the order of publishing."""
        for worker, held in zip(self.workers, self.held, strict=True):
            last = -1
            for got in worker.take():
                assert got.body not in self.acked, "an acknowledged message came back"
                held[got.tag] = got.body
                if not got.redelivered:
                    assert int(got.body) > last, "out of order"
                    last = int(got.body)

    @rule()
    def publish(self):
        body = str(self.published)
        self.published += 1
        self.publisher.publish(body, delivery_mode=2)
        if self.publisher.answers(m.BASIC_ACK):
            self.confirmed.add(body)
        self._look()

    @rule(number=workers, pick=st.integers(0, PREFETCH))
    def ack(self, number, pick):
        held = self.held[number]
        if held:
            tag = list(held)[pick % len(held)]
            self.acked.add(held.pop(tag))
            self.workers[number].ack(tag)
            self._look()

    @rule(number=workers, pick=st.integers(0, PREFETCH))
    def ack_several(self, number, pick):
        held = self.held[number]
        if held:
            tag = sorted(held)[pick % len(held)]
            for other in [one for one in held if one <= tag]:
                self.acked.add(held.pop(other))
            self.workers[number].ack(tag, multiple=True)
            self._look()

    @rule(number=workers, pick=st.integers(0, PREFETCH))
    def requeue(self, number, pick):
        held = self.held[number]
        if held:
            tag = list(held)[pick % len(held)]
            del held[tag]
            self.workers[number].reject(tag)
            self._look()

    @rule(number=workers)
    def recover(self, number):
        self.held[number].clear()
        self.workers[number].call(m.BASIC_RECOVER, True)
        self._look()

    @rule(number=workers)
    def die(self, number):
        self.workers[number].die()
        self.held[number].clear()
        self.workers[number] = self._worker(number)
        self._look()

    @rule(number=workers)
    def close_the_channel(self, number):
        worker = self.workers[number]
        worker.take()
        self.held[number].clear()
        worker.close_channel()
        worker.open()
        worker.qos(PREFETCH, together=self.global_limit)
        worker.consume()
        self._look()

    @precondition(lambda self: self.published)
    @rule()
    def restart(self):
        self.scene.restart()
        self.publisher = self._publisher()
        for number in range(WORKERS):
            self.held[number].clear()
        self.workers = [self._worker(number) for number in range(WORKERS)]
        self._look()

    @invariant()
    def prefetch_is_never_exceeded(self):
        assert all(len(held) <= PREFETCH for held in self.held)

    @invariant()
    def counts_are_true(self):
        row = self.scene.row()
        assert row.unacked == sum(map(len, self.held))
        assert self.scene.server.waiting() == row.ready + row.unacked

    @invariant()
    def nothing_waits_while_somebody_could_take_it(self):
        if self.scene.row().ready:
            assert all(len(held) == PREFETCH for held in self.held)

    @invariant()
    def nothing_confirmed_is_lost_or_doubled(self):
        held = [body for each in self.held for body in each.values()]
        assert len(held) == len(set(held))
        assert self.confirmed == {str(number) for number in range(self.published)}
        assert self.scene.row().ready == len(self.confirmed) - len(self.acked) - len(held)

    def teardown(self):
        """All that was never acknowledged comes to the last worker, in the order of publishing."""
        for worker in self.workers:
            worker.die()
        last = self.scene.client("last")
        last.consume()
        left = [int(got.body) for got in last.take()]
        assert left == sorted(int(body) for body in self.confirmed - self.acked)


class BrokerWithGlobalLimit(Broker):
    """The same with a limit for each channel, and two consumers on it."""

    global_limit = True


TestBroker = Broker.TestCase
TestBroker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBrokerWithGlobalLimit = BrokerWithGlobalLimit.TestCase
TestBrokerWithGlobalLimit.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
