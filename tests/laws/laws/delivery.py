"""S34 to S41: what is delivered to whom, in which order, and how fast."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st
from kombu import Queue
from kombu.exceptions import OperationalError

from tasksim.events import Acked, Delivered, Rejected, Requeued, Scheduled, Started
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import raised_by, same
from tests.laws.worlds import Setup, Turn, World

alone = draw.setups(workers=1)


def peak(world: World, process: str = "w1") -> int:
    """Most deliveries that a worker held unsettled at one time."""
    held: set[int] = set()
    most = 0
    for event in world.trace:
        if isinstance(event, Delivered) and event.process == process:
            held.add(event.delivery)
            most = max(most, len(held))
        elif isinstance(event, (Acked, Rejected)):
            held.discard(event.delivery)
    return most


@law("S34", setup=draw.setups(workers=1, slots=1, late=True), calls=st.integers(1, 7), which=st.integers(0, 6),
     speaks_of=("redelivery",))  # fmt: skip
def law_s34_a_rejected_message_goes_where_it_was_on_rabbitmq_and_last_on_redis(
    setup: Setup, calls: int, which: int
) -> None:
    which = min(which, calls - 1)
    with World(setup) as world:
        task = world.task()
        for number in range(calls):
            world.call(task, *([Turn("requeue")] if number == which else []), Turn())
        world.run()
        order = list(range(calls))
        if setup.broker == "redis":
            order.append(which)
        else:
            # What the worker holds already comes first; then the one that stands first in the queue again.
            order.insert(min(which + setup.prefetch, calls), which)
        same([int(note.task_id[1:]) - 1 for _, note in world.bodies if note.what == "begin"], order, "order")
        history.all_settled(world)


@law("S34", setup=draw.setups(workers=0, slots=1, late=True, prefetch=st.integers(2, 4)),
     calls=st.integers(3, 8), speaks_of=("redelivery",), examples=20)  # fmt: skip
def law_s34_what_a_closed_channel_gives_back_comes_before_the_others(setup: Setup, calls: int) -> None:
    with World(setup) as world:
        task = world.task()
        for number in range(calls):
            world.call(task, Turn(seconds=6.0 if number == 0 else 1.0))
        world.sim.start_worker("w1", concurrency=1, wait=True)
        world.sim.stop(worker="w1")
        world.sim.start_worker("w2", at=world.sim.now + 30.0, concurrency=1)
        world.run()
        order = [int(note.task_id[1:]) for _, note in world.bodies if note.what == "begin"]
        held = list(range(2, min(setup.prefetch, calls) + 1))
        # Redis gives back one after the other, each to the head of the queue.
        same(order, [1, *(reversed(held) if setup.broker == "redis" else held), *range(2 + len(held), calls + 1)])
        history.all_settled(world)


@law("S34", setup=draw.setups(broker="redis", workers=0, slots=1, late=True, prefetch=st.integers(1, 4)),
     others=st.integers(4, 6), priority=st.sampled_from([0, 0, 3]), speaks_of=("kill", "redelivery"),
     examples=10, since="5.7")  # fmt: skip
def law_s34_a_sweep_gives_back_all_that_is_overdue_before_the_others_of_its_priority(
    setup: Setup, others: int, priority: int
) -> None:
    options = {"visibility_timeout": 60, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    with World(setup, broker_transport_options=options) as world:
        task = world.task()
        world.sim.start_worker("w1", concurrency=1, wait=True)
        began = world.sim.now
        lost = [world.call(task, priority=priority).id for _ in range(setup.prefetch)]
        world.sim.kill(worker="w1", at=began + 0.5)
        world.sim.run(until=began + 1.0)
        slow = [world.call(task, Turn(seconds=30.0), priority=0).id for _ in range(others)]
        world.app.conf.worker_prefetch_multiplier = 1
        world.sim.start_worker("w2", concurrency=1)
        world.run()
        back = [event for event in world.trace.where(Requeued) if event.reason == "visibility timeout"]
        same(sorted(event.task_id for event in back), lost, "restored")
        assert back[-1].time - back[0].time < 0.5, f"restored from {back[0].time} to {back[-1].time}"
        assert 60 <= back[0].time - began <= 75, f"restored at {back[0].time}"
        order = [note.task_id for _, note in world.bodies if note.what == "begin" and note.time > back[0].time]
        # One may have been fetched before.
        first = order.index(next(name for name in order if name in lost))
        same(sorted(order[first : first + len(lost)]), lost, "one after the other")
        same([name for name in order if name in slow], slow[-len(order) + len(lost) :], "the others")
        same(first <= 1, priority == 0, "before the others")
        history.all_settled(world)


@law("S35", setup=draw.setups(workers=1, prefetch=st.integers(1, 4)), calls=st.integers(1, 14), up=st.booleans())
def law_s35_a_worker_holds_multiplier_times_slots_messages_and_no_more(setup: Setup, calls: int, up: bool) -> None:
    with World(Setup(**{**vars(setup), "workers": int(up)})) as world:
        task = world.task()
        for _ in range(calls):
            world.call(task, Turn(seconds=4.0))
        if not up:
            world.sim.start_worker("w1", concurrency=setup.slots)
        world.run()
        most, held = min(calls, setup.prefetch * setup.slots), peak(world)
        # What is acked early may make room before the last one comes.
        least = most if setup.late else min(calls - setup.slots, most)
        assert least <= held <= most, f"held {held} messages at one time, by the law {least} to {most}"
        same(max_running(world), min(calls, setup.slots), "most bodies at once")
        same([len(world.begins(f"t{number + 1}")) for number in range(calls)], [1] * calls, "runs")
        history.all_settled(world)


def max_running(world: World) -> int:
    """Most bodies that ran at one time."""
    running = most = 0
    for _, note in world.bodies:
        running += 1 if note.what == "begin" else -1
        most = max(most, running)
    return most


@law("S36", setup=draw.setups(workers=1, slots=1, late=True, prefetch=st.integers(1, 3)), etas=st.integers(1, 4),
     calls=st.integers(0, 6), version=draw.rabbits, eta=st.sampled_from([20, 30]))  # fmt: skip
def law_s36_each_eta_task_makes_room_for_one_more_but_not_on_rabbitmq_4(
    setup: Setup, etas: int, calls: int, version: str, eta: int
) -> None:
    with World(setup, options={"rabbitmq": version}) as world:
        task = world.task()
        for _ in range(etas):
            world.call(task, countdown=eta + 0.25)
        for _ in range(calls):
            world.call(task, Turn(seconds=1.0))
        world.run()
        grows = setup.broker == "redis" or version == "3.13"
        most = etas + min(calls, setup.prefetch) if grows else min(etas + calls, setup.prefetch)
        same(peak(world), most, "most messages held")
        if grows:
            same(len([e for e in world.trace.where(Scheduled) if e.time < eta]), etas, "scheduled")
        later = [e for e in world.trace.where(Started) if e.time < eta]
        same(len(later), calls if grows or etas < setup.prefetch else 0, "others that ran before")
        history.all_settled(world)


@law("S36", setup=draw.setups(workers=1, slots=1, late=True, broker="redis", prefetch=st.integers(1, 3)),
     etas=st.integers(1, 4), calls=st.integers(4, 8), examples=15)  # fmt: skip
def law_s36_the_room_is_taken_back_when_the_eta_has_come(setup: Setup, etas: int, calls: int) -> None:
    with World(setup) as world:
        task = world.task()
        for _ in range(etas):
            world.call(task, Turn(seconds=0.0), countdown=2.25)
        world.sim.run(until=10.0)
        for _ in range(calls):
            world.call(task, Turn(seconds=1.0))
        world.sim.run(until=10.5)
        same(world.left(), (calls - min(calls, setup.prefetch), min(calls, setup.prefetch)), "ready and unacked")
        world.run()
        history.all_settled(world)


@law("S37", setup=draw.setups(broker="amqp", workers=1, prefetch=st.integers(2, 4)),
     durations=st.lists(st.sampled_from([2.0, 6.0]), min_size=1, max_size=5), when=st.sampled_from([0.25, 1.25]),
     eta=st.booleans(), speaks_of=("redelivery",))  # fmt: skip
def law_s37_after_a_cut_running_tasks_go_on_and_what_is_unacked_comes_again(
    setup: Setup, durations: list[float], when: float, eta: bool
) -> None:
    with World(setup) as world:
        task = world.task()
        calls = [world.call(task, Turn(seconds=duration), Turn(seconds=1.0)).id for duration in durations]
        calls += [world.call(task, countdown=40.0).id] if eta else []
        world.sim.cut(worker="w1", server="broker", at=when)
        world.run()
        for task_id in calls:
            runs = world.trace.of(task_id).attempts
            running = runs[0].started < when
            twice = running and setup.late
            same([run.state for run in runs], ["SUCCESS"] * (1 + twice), f"runs of {task_id}")
            same([run.redelivered for run in runs][-1], _held(world, task_id, when) and (twice or not running))
        history.all_settled(world)


def _held(world: World, task_id: str, when: float) -> bool:
    return any(event.time < when for event in world.trace.where(Delivered, task_id=task_id))


@law("S37", setup=draw.setups(broker="amqp", workers=1, slots=1, prefetch=4), calls=st.integers(2, 4), examples=12,
     speaks_of=("redelivery",))  # fmt: skip
def law_s37_what_a_rate_limit_holds_comes_again_after_a_cut_and_runs_once(setup: Setup, calls: int) -> None:
    with World(setup) as world:
        task = world.task(rate_limit="6/m")
        for _ in range(calls):
            world.call(task, Turn(seconds=0.0))
        world.sim.cut(worker="w1", server="broker", at=1.25)
        world.run()
        same([len(world.begins(f"t{number + 1}")) for number in range(calls)], [1] * calls, "runs")
        history.all_settled(world)


@law("S37", setup=draw.setups(broker="amqp", workers=1, late=True, slots=st.integers(2, 3), prefetch=st.integers(1, 3)),
     running=st.integers(1, 3), version=draw.rabbits, examples=15)  # fmt: skip
def law_s37_after_a_cut_the_prefetch_is_less_by_what_runs_until_that_is_over(
    setup: Setup, running: int, version: str
) -> None:
    running = min(running, setup.slots)
    with World(setup, options={"rabbitmq": version}) as world:
        task, whole = world.task(), setup.slots * setup.prefetch
        for _ in range(running):
            world.call(task, Turn(seconds=50.0), Turn(seconds=20.0))
        world.sim.cut(worker="w1", server="broker", at=1.25)
        world.sim.run(until=5.0)
        for _ in range(40):
            world.call(task, Turn(seconds=20.0))
        world.sim.run(until=9.0)
        reduced = max(setup.prefetch, whole - running * setup.prefetch)
        same(world.left()[1], reduced if version == "3.13" else whole, "unacked")
        # Each ack of what came after the cut brings back one multiplier.
        world.sim.run(until=200.0)
        same(world.left()[1], whole, "unacked when that is over")


@law("S38", setup=draw.setups(workers=1, prefetch=4), rate=st.sampled_from(["2/s", "1/s", "30/m", "10/m", "3600/h", 4]),
     calls=st.integers(1, 5), apart=st.sampled_from([0.0, 0.7]), since="5.7")  # fmt: skip
def law_s38_a_rate_limit_lets_one_start_each_interval_and_the_first_at_once(
    setup: Setup, rate: Any, calls: int, apart: float
) -> None:
    intervals = {"2/s": 0.5, "1/s": 1.0, "30/m": 2.0, "10/m": 6.0, "3600/h": 1.0, 4: 0.25}
    with World(setup) as world:
        task = world.task(rate_limit=rate)
        for number in range(calls):
            world.sim.run(until=number * apart)
            world.call(task, Turn(seconds=0.0))
        world.run()
        starts = [note.time for _, note in world.bodies if note.what == "begin"]
        same([note.task_id for _, note in world.bodies[::2]], [f"t{number + 1}" for number in range(calls)], "order")
        assert starts[0] < 0.01, f"the first began at {starts[0]}"
        step = intervals[rate]
        for number, start in enumerate(starts):
            # A token takes a moment to be whole again; a held task looks again when it should be.
            least = max(number * step, number * apart)
            assert least - 0.01 <= start <= least + step + 0.1, f"start {number} at {start}, every {step} s"
        history.all_settled(world)


@law("S38", setup=draw.setups(workers=1, broker="redis", slots=1, late=True, prefetch=st.integers(1, 3)),
     etas=st.integers(1, 4), rate=st.sampled_from([("1/s", 1.0), ("30/m", 2.0)]), calls=st.integers(4, 6),
     examples=15, since="5.7")  # fmt: skip
def law_s38_a_rate_limit_holds_eta_tasks_too_from_their_eta_on(
    setup: Setup, etas: int, rate: tuple[str, float], calls: int
) -> None:
    with World(setup) as world:
        limited, task = world.task("limited", rate_limit=rate[0]), world.task()
        for _ in range(etas):
            world.call(limited, Turn(seconds=0.0), countdown=5.25)
        world.sim.run(until=4.0)
        same(world.left(), (0, etas), "ready and unacked (S36)")
        world.sim.run(until=20.0)
        starts = sorted(note.time for _, note in world.bodies if note.what == "begin")
        same(len(starts), etas, "starts")
        for number, start in enumerate(starts):
            least = 5.25 + number * rate[1]
            assert least - 0.01 <= start <= least + (rate[1] + 0.1) * (number > 0) + 0.01, f"start {number} at {start}"
        for _ in range(calls):
            world.call(task, Turn(seconds=4.0))
        world.sim.run(until=20.5)
        same(world.left(), (calls - min(calls, setup.prefetch), min(calls, setup.prefetch)), "ready and unacked")
        world.run()
        history.all_settled(world)


@law("S39", setup=draw.setups(broker="redis", late=True), visibility=st.sampled_from([20, 45]),
     seconds=st.sampled_from([5.0, 30.0, 60.0, 100.0]), examples=20, since="5.7")  # fmt: skip
def law_s39_a_redis_message_that_is_unacked_too_long_is_delivered_again(
    setup: Setup, visibility: int, seconds: float
) -> None:
    options = {"visibility_timeout": visibility, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    with World(setup, broker_transport_options=options) as world:
        world.call(world.task(), Turn(seconds=seconds), Turn())
        world.run()
        deliveries = list(world.trace.where(Delivered))
        again = seconds > visibility + 15
        if seconds < visibility:
            same(len(deliveries), 1, "deliveries")
        elif again:
            assert len(deliveries) >= 2, "it was not delivered again"
        for one, two in itertools.pairwise(deliveries):
            assert two.redelivered
            assert visibility - 0.01 <= two.time - one.time <= visibility + 15, f"delivered at {one.time}, {two.time}"
        same(len(world.begins("t1")), len(deliveries), "runs")
        same([note.seen["delivery_info"]["redelivered"] for note in world.begins("t1")],
             [number > 0 for number in range(len(deliveries))], "redelivered (S33)")  # fmt: skip
        history.all_settled(world)


@law("S40", setup=draw.setups(workers=0, slots=1, prefetch=1, late=True),
     priorities=st.lists(st.integers(0, 9), min_size=1, max_size=7))  # fmt: skip
def law_s40_larger_priorities_come_first_on_rabbitmq_and_smaller_steps_of_three_on_redis(
    setup: Setup, priorities: list[int]
) -> None:
    queue = Queue("celery", queue_arguments={"x-max-priority": 9} if setup.broker == "amqp" else None)
    with World(setup, task_queues=[queue]) as world:
        task = world.task()
        for priority in priorities:
            world.call(task, priority=priority)
        world.sim.start_worker("w1", concurrency=1)
        world.run()
        rabbit = setup.broker == "amqp"
        keys = [-priority if rabbit else priority // 3 for priority in priorities]
        order = sorted(range(len(keys)), key=lambda number: keys[number])
        found = [int(note.task_id[1:]) - 1 for _, note in world.bodies if note.what == "begin"]
        same(found, order, "order")
        same([note.seen["delivery_info"]["priority"] for _, note in world.bodies if note.what == "begin"],
             [priorities[number] for number in order])  # fmt: skip
        history.all_settled(world)


@law("S41", setup=draw.setups(workers=1), back=st.sampled_from([0.1, 0.3, 9.0]), examples=15)
def law_s41_publishing_is_tried_four_times_in_0_6_seconds(setup: Setup, back: float) -> None:
    with World(setup) as world:
        task = world.task()
        world.sim.run(until=1.0)
        world.sim.refuse(back)
        error = raised_by(lambda: world.call(task))
        if back > 0.6:
            assert isinstance(error, OperationalError), f"raised {error!r}"
            same(round(world.sim.now, 2), 1.6, "given up")
        else:
            same(error, None, "raised")
        world.run()
        same(len(world.begins("t1")), int(back < 0.6), "runs")
        history.all_settled(world)


@law("S36", setup=draw.setups(workers=1, slots=1, late=True, prefetch=st.integers(1, 3)), more=st.integers(0, 2),
     over=st.integers(1, 4), examples=12, since="5.6")  # fmt: skip
def law_s36_the_room_that_eta_tasks_make_has_the_limit_that_is_set(setup: Setup, more: int, over: int) -> None:
    limit = setup.prefetch + more
    with World(setup, options={"rabbitmq": "3.13"}, worker_eta_task_limit=limit) as world:
        task = world.task()
        for _ in range(limit + over):
            world.call(task, countdown=20.25)
        world.sim.run(until=15.0)
        same(world.left(), (over, limit), "ready and unacked")
        world.run()
        history.all_settled(world)
