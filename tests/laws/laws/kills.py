"""S1, S2, S33 with workers that die; S7 to S9, S17 with pool processes that die."""

from __future__ import annotations

import itertools
from typing import Any

from celery import chain
from hypothesis import strategies as st

from tasksim.events import Acked, Delivered, Failed, Rejected
from tasksim.trace.query import LOST
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import Setup, Turn, World

KILL, REDELIVERY, RETRY = ("kill",), ("kill", "redelivery"), ("kill", "retry")
workloads = st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=1, max_size=6)
instants = st.sampled_from([0.25, 1.25, 2.25, 3.25])
#: A dead worker's messages come back on Redis when they are this old, in seconds.
VISIBLE: dict[str, Any] = {"broker_transport_options": {"visibility_timeout": 60, "unacked_restore_interval": 1,
                                        "unacked_restore_throttle": 1}}  # fmt: skip


def killed(setup: Setup, durations: list[float], when: float, back: float, **kill: Any) -> World:
    """A workload on workers the first of which dies, and comes back after so many seconds."""
    with World(setup, **VISIBLE) as world:
        task = world.task()
        for duration in durations:
            world.call(task, Turn(seconds=duration))
        world.sim.kill(worker="w1", **(kill or {"at": when}))
        world.sim.start_worker("w1", at=when + back)
        world.run()
        history.all_settled(world)
        for number in range(1, len(durations) + 1):
            flags_are_true(world, f"t{number}")
    return world


def flags_are_true(world: World, task_id: str) -> None:
    """S33: a run says that its message was redelivered if and only if it was delivered before."""
    message: dict[int, int] = {}
    first: set[int] = set()
    for event in world.trace.where(Delivered, task_id=task_id):
        assert isinstance(event, Delivered)
        same(event.redelivered, event.message in message, f"redelivered of delivery {event.delivery}")
        if event.message not in message:
            first.add(event.delivery)
        message[event.message] = event.delivery
    for attempt in world.trace.of(world.result(task_id)).attempts:
        same(attempt.redelivered, attempt.delivery not in first, f"redelivered of a run of {task_id}")


@law("S2", setup=draw.setups(late=True), durations=workloads, when=instants, back=st.sampled_from([0.5, 9.0]),
     speaks_of=REDELIVERY)  # fmt: skip
def law_s2_a_late_acked_task_whose_worker_is_killed_runs_again_and_no_other(
    setup: Setup, durations: list[float], when: float, back: float
) -> None:
    world = killed(setup, durations, when, back)
    for number in range(1, len(durations) + 1):
        attempts = world.trace.of(f"t{number}").attempts
        same([attempt.state for attempt in attempts][-1:], ["SUCCESS"], f"the last run of t{number}")
        lost = [attempt for attempt in attempts if attempt.state == LOST]
        same(len(attempts), len(lost) + 1, f"runs of t{number}")
        assert all(attempt.worker == "w1" and attempt.ended == when for attempt in lost)
        same(history.states(world, f"t{number}"), ["SUCCESS"])


@law("S1", setup=draw.setups(late=False), durations=workloads, when=instants, back=st.sampled_from([0.5, 9.0]),
     speaks_of=KILL)  # fmt: skip
def law_s1_an_early_acked_task_whose_worker_is_killed_never_runs_again_and_no_other_is_lost(
    setup: Setup, durations: list[float], when: float, back: float
) -> None:
    world = killed(setup, durations, when, back)
    for number in range(1, len(durations) + 1):
        (attempt,) = world.trace.of(f"t{number}").attempts
        dies = attempt.worker == "w1" and attempt.started < when < attempt.started + durations[number - 1]
        same(attempt.state, LOST if dies else "SUCCESS", f"the run of t{number}")
        same(history.states(world, f"t{number}"), [] if dies else ["SUCCESS"])


@law("S2", setup=draw.setups(late=True, workers=1), durations=workloads, nth=st.integers(1, 3),
     event=st.sampled_from(["Started", "StateStored", "Succeeded", "Finished"]), speaks_of=REDELIVERY)  # fmt: skip
def law_s2_a_crash_before_the_late_ack_leaves_a_finished_task_unacked(
    setup: Setup, durations: list[float], nth: int, event: str
) -> None:
    nth = min(nth, len(durations))
    with World(setup, **VISIBLE) as world:
        task = world.task()
        for duration in durations:
            world.call(task, Turn(seconds=duration))
        world.sim.kill(worker="w1", when=world.sim.on(event, nth=nth))
        world.sim.start_worker("w1", at=30.0)
        world.run()
        history.all_settled(world)
        acked = {found.delivery for found in world.trace.where(Acked)}
        gone = in_flight(world, len(durations))
        for number in range(1, len(durations) + 1):
            flags_are_true(world, f"t{number}")
            attempts = world.trace.of(f"t{number}").attempts
            expected = [] if f"t{number}" in gone else [False] * (len(attempts) - 1) + [True]
            same([one.delivery in acked for one in attempts], expected, "acked")
        same(len(world.trace.attempts) - len(durations) + len(gone), len(_unsettled(world)), "runs again")


def in_flight(world: World, calls: int) -> list[str]:
    """The exception on Redis: what the server has popped for a worker that dies before it is noted as unacked."""
    gone = [f"t{number + 1}" for number in range(calls) if not world.trace.where(Delivered, task_id=f"t{number + 1}")]
    assert len(gone) <= (world.setup.broker == "redis"), f"{gone} were never delivered"
    return gone


def _unsettled(world: World) -> list[Any]:
    """Runs that w1 had begun and not acked when it died."""
    acked = {found.delivery for found in world.trace.where(Acked)}
    return [one for one in world.trace.attempts if one.delivery not in acked]


@law("S7", setup=draw.setups(workers=1), kill=st.booleans(), requeue=st.booleans(), ignore_result=st.booleans(),
     losses=st.sampled_from([1, 1, 2, 3]), seconds=st.sampled_from([2.0, 7.0]), speaks_of=KILL,
     examples=36)  # fmt: skip
def law_s7_a_lost_child_fails_its_task_or_puts_a_late_one_back(
    setup: Setup, kill: bool, requeue: bool, ignore_result: bool, losses: int, seconds: float
) -> None:
    with World(setup) as world:
        task, other = world.task(reject_on_worker_lost=requeue, ignore_result=ignore_result), world.task("errback")
        errback = other.si().set(task_id="errback")
        first = Turn("ok", seconds) if kill else Turn("exit", seconds)
        world.call(task, *[first] * losses, Turn(), link_error=errback)
        if kill:
            world.kill_children("t1", losses, after=1.25)
        world.run()
        again = losses if setup.late and requeue else 0
        runs = world.trace.of("t1").attempts
        ended = LOST if kill else "UNKNOWN"
        same([run.state for run in runs], [ended] * again + ["SUCCESS"] if again else [ended], "runs")
        same([run.redelivered for run in runs], [False] + [True] * again, "redelivered")
        stored = "SUCCESS" if again else "FAILURE"
        same(history.states(world, "t1"), [] if ignore_result else [stored])
        same([word for word in history.mains(world, "t1") if word in ("ack", "reject", "requeue")],
             ["requeue"] * again + ["ack"])  # fmt: skip
        same(
            [(e.exception, e.process) for e in world.trace.where(Failed)], [] if again else [("WorkerLostError", "w1")]
        )
        same(len(world.begins("errback")), int(not again), "errbacks")
        hooks = [name for name, task_id, _ in world.told if task_id == "t1"]
        last = ["before_start", "on_success", "after_return"] if again else []
        same(hooks, ["before_start"] * max(again, 1) + last, "hooks (S17)")
        history.all_settled(world)


@law("S8", setup=draw.setups(workers=1), limit=st.integers(0, 2), kills=st.integers(1, 3),
     delay=st.sampled_from([0, 7]), requeue=st.booleans(), kill=st.sampled_from([True, True, False]),
     linked=st.booleans(), ignore_result=st.booleans(), speaks_of=("kill",), since="5.7")  # fmt: skip
def law_s8_retry_on_worker_lost_publishes_a_retry_until_max_retries(
    setup: Setup, limit: int, kills: int, delay: int, requeue: bool, kill: bool, linked: bool, ignore_result: bool
) -> None:
    with World(setup) as world:
        task = world.task(
            retry_on_worker_lost=True, max_retries=limit, default_retry_delay=delay, reject_on_worker_lost=requeue,
            ignore_result=ignore_result,
        )  # fmt: skip
        world.plan("t1", *[Turn("ok" if kill else "exit")] * kills, Turn())
        before = [world.task("before").si().set(task_id="before")] if linked else []
        chain(*before, task.si().set(task_id="t1")).apply_async()
        if kill:
            world.kill_children("t1", kills)
        world.run()
        fails = kills > limit
        retries = min(kills, limit)
        seen = world.begins("t1")
        kin = ("before", "before") if linked else ("t1", None)
        same([(note.seen["root_id"], note.seen["parent_id"]) for note in seen], [kin] * (retries + 1), "root, parent")
        same([note.seen["retries"] for note in seen], list(range(retries + 1)), "retries")
        same([note.seen["delivery_info"]["redelivered"] for note in seen], [False] * (retries + 1), "redelivered")
        stored = ["RETRY"] * retries + ["FAILURE" if fails else "SUCCESS"]
        same(history.states(world, "t1"), [] if ignore_result else stored)
        for one, two in itertools.pairwise(seen):
            # The end of a pool process may be noticed only by the check of each 5 s.
            assert -1e-6 <= two.time - one.time - (0.25 if kill else 1.0) - delay <= 5.1, (
                f"runs at {one.time} and {two.time}"
            )
        same([word for word in history.mains(world, "t1") if word in ("ack", "reject", "requeue")],
             ["ack"] * (retries + 1))  # fmt: skip
        same([name for name, _, _ in world.told].count("on_retry"), retries)
        history.all_settled(world)


@law("S9", setup=draw.setups(workers=1), requeue=st.booleans(), retry=st.booleans(), speaks_of=KILL, since="5.7",
     event=st.sampled_from(["StateStored", "Succeeded"]), examples=30)  # fmt: skip
def law_s9_a_child_lost_after_success_was_stored_has_succeeded(
    setup: Setup, requeue: bool, retry: bool, event: str
) -> None:
    with World(setup) as world:
        task = world.task(reject_on_worker_lost=requeue, retry_on_worker_lost=retry)
        world.call(task)
        world.sim.kill(task="t1", when=world.sim.on(event))
        world.run()
        same(world.starts("t1"), [0.0])
        same(history.states(world, "t1"), ["SUCCESS"])
        same(len(world.trace.where(Failed)) + len(world.trace.where(Rejected)), 0, "failures and rejections")
        history.all_settled(world)


@law("S7", setup=draw.setups(workers=1, late=True), retry=draw.since("5.7", [False, True]), speaks_of=KILL, examples=10)
def law_s7_what_settings_say_of_lost_processes_holds_for_each_task(setup: Setup, retry: bool) -> None:
    setting = "task_retry_on_worker_lost" if retry else "task_reject_on_worker_lost"
    with World(setup, **{setting: True}) as world:
        world.call(world.task(default_retry_delay=7))
        world.kill_children("t1", 1)
        world.run()
        same(history.states(world, "t1"), ["RETRY", "SUCCESS"] if retry else ["SUCCESS"])
        settled = [word for word in history.mains(world, "t1") if word in ("ack", "reject", "requeue")]
        same(settled, ["ack" if retry else "requeue", "ack"])
        history.all_settled(world)


@law("S2", setup=draw.setups(late=True, workers=1, slots=2), when=st.sampled_from([3.25, 5.25]),
     first=st.integers(0, 1), speaks_of=REDELIVERY, examples=12)  # fmt: skip
def law_s2_an_ack_settles_its_own_delivery_and_no_earlier_one(setup: Setup, when: float, first: int) -> None:
    with World(setup, **VISIBLE) as world:
        task = world.task()
        for number in range(2):
            world.call(task, Turn(seconds=20.0 if number == first else 2.0))
        world.sim.kill(worker="w1", at=when)
        world.sim.start_worker("w1", at=when + 1.0)
        world.run()
        same([len(world.begins(f"t{number + 1}")) for number in range(2)], [2 - first, 1 + first], "runs")
        history.all_settled(world)
