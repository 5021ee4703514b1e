"""S4, S10, S15 to S20: errors in hooks, results that cannot be stored, limits on time, what a worker cannot take."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from celery import Celery, chain
from celery.exceptions import SoftTimeLimitExceeded
from hypothesis import strategies as st

from tasksim.events import Acked, Delivered, Failed, Finished, Received, Rejected, TaskRejected, TaskUnknown
from tests.laws import draw, history, lifecycle
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import URLS, Hooked, Setup, Turn, World

alone = draw.setups(workers=1)


@law("S15", setup=alone, broken=st.sampled_from(["before_start", "on_success", "after_return"]), track=st.booleans(),
     raises=st.booleans(), since="5.7")  # fmt: skip
def law_s15_an_error_in_before_start_fails_the_task_one_in_later_hooks_does_not(
    setup: Setup, broken: str, track: bool, raises: bool
) -> None:
    with World(setup) as world:
        task = world.task(track_started=track)
        task.broken = (broken,)
        world.call(task, Turn("raise" if raises else "ok"))
        world.run()
        before = broken == "before_start"
        fails = raises or before
        (run,) = history.runs(world, "t1")
        begin = [
            "task_prerun 0",
            *(["STARTED"] if track else []),
            "before_start",
            *([] if before else ["begin", "end"]),
        ]
        name = "OtherTrouble" if before else "Trouble"
        end = ["FAILURE", "on_failure", f"task_failure {name}"] if fails else ["SUCCESS", "on_success", "task_success"]
        same(run, [*begin, *end, "after_return", f"task_postrun {'FAILURE' if fails else 'SUCCESS'}"])
        history.all_settled(world)


@law("S16", setup=alone, track=st.booleans(), errback=st.booleans(), examples=20)
def law_s16_a_result_that_cannot_be_encoded_fails_the_task(setup: Setup, track: bool, errback: bool) -> None:
    # An in-memory result store keeps anything: results must go through a serializer.
    with World(setup, backend="redis://127.0.0.1:6380/1") as world:
        after = world.task("after").si().set(task_id="errback") if errback else None
        world.call(world.task(track_started=track), Turn("unstorable"), link_error=after)
        world.run()
        same(history.states(world, "t1"), [*(["STARTED"] if track else []), "FAILURE"])
        same(len(world.begins("errback")), int(errback), "errbacks")
        same([event.exception for event in world.trace.where(Failed)], ["EncodeError"])
        same([word for word in history.mains(world, "t1") if word in ("ack", "reject")], ["ack"])
        history.all_settled(world)


@law("S16", setup=alone, chained=st.booleans(), examples=15, since="5.7")
def law_s16_a_successor_that_cannot_be_published_fails_the_task(setup: Setup, chained: bool) -> None:
    with World(setup) as world:
        task = world.task()
        first, after = task.si().set(task_id="t1"), world.task("after").si().set(task_id="next")
        whole = chain(first, after) if chained else first.set(link=[after])
        whole.apply_async()
        world.sim.refuse(30.0, at=0.5)
        world.run()
        same(history.states(world, "t1")[-1:], ["FAILURE"])
        same([event.exception for event in world.trace.where(Failed)], ["OperationalError"])
        same((len(world.begins("t1")), len(world.begins("next"))), (1, 0), "runs")
        same([name for name, _, _ in world.told], ["before_start", "on_failure", "after_return"], "hooks")
        same([event.state for event in world.trace.where(Finished)], ["FAILURE"], "task_postrun")
        history.all_settled(world)


@law(
    "S12",
    setup=alone,
    length=st.integers(2, 4),
    fails=st.integers(0, 3),
    errback=st.booleans(),
    retries=st.integers(0, 1),
)
def law_s12_a_failure_ends_its_chain_and_calls_the_errback_once(
    setup: Setup, length: int, fails: int, errback: bool, retries: int
) -> None:
    fails = min(fails, length - 1)
    with World(setup) as world:
        task, after = world.task(), world.task("after")
        links = [task.si().set(task_id=f"link{number}") for number in range(length)]
        world.plan(f"link{fails}", *[Turn("retry", options=(("countdown", 2),))] * retries, Turn("raise"))
        whole = chain(*links)
        if errback:
            whole.link_error(after.si().set(task_id="errback"))
        whole.apply_async()
        world.run()
        for number in range(length):
            runs = 0 if number > fails else 1 + retries * (number == fails)
            same(len(world.begins(f"link{number}")), runs, f"runs of link {number}")
            ended = ["SUCCESS"] if number < fails else [*["RETRY"] * retries * (number == fails), "FAILURE"]
            same(history.states(world, f"link{number}"), ended, f"states of link {number}")
        same(len(world.begins("errback")), int(errback), "errbacks")
        history.all_settled(world)


@law("S18", setup=alone, limit=st.sampled_from([2, 4]), soft=st.sampled_from([False, False, True]), acks=st.booleans(),
     source=st.sampled_from(["task", "call", "both", "name", "setting"]), seconds=st.sampled_from([1.0, 9.0, 9.0]),
     errback=st.booleans(), since="5.7", examples=42)  # fmt: skip
def law_s18_a_hard_time_limit_fails_the_task_from_the_main_process(
    setup: Setup, limit: int, soft: bool, source: str, acks: bool, seconds: float, errback: bool
) -> None:
    limits: dict[str, Any] = {"soft_time_limit" if soft else "time_limit": limit}
    settings = {f"task_{name}": value for name, value in limits.items()} if source == "setting" else {}
    with World(setup, **settings) as world:
        # What a call says counts before what its task says.
        own = dict.fromkeys(limits, 60) if source == "both" else limits if source in ("task", "name") else {}
        task = world.task(acks_on_timeout=acks, **own)
        after = world.task("after").si().set(task_id="errback") if errback else None
        given = limits if source in ("call", "both") else {}
        turns = Turn("ok", seconds), Turn("ok", 0.5)
        if source == "name":
            # Published by one who knows the name only: the worker's own task has the limit.
            stranger = Celery("stranger", broker=URLS[setup.broker], set_as_current=False)
            stranger.send_task("act", task_id=world.plan("t1", *turns), link_error=after)
        else:
            world.call(task, *turns, link_error=after, **given)
        world.run()
        over = seconds > limit
        again = over and setup.late and not acks and not soft
        words = [word for word in history.mains(world, "t1") if word in lifecycle.SETTLES]
        same(words, ["requeue", "ack"] if again else ["ack"], "settled (S4)")
        same(len(world.begins("t1")), 1 + again, "runs")
        failures = [(event.exception, "/" in event.process) for event in world.trace.where(Failed, task_id="t1")]
        if not over:
            same((failures, history.states(world, "t1")), ([], ["SUCCESS"]))
        elif soft:
            same((failures, history.states(world, "t1")), ([("SoftTimeLimitExceeded", True)], ["FAILURE"]))
        else:
            same({one[0] for one in failures}, {"TimeLimitExceeded"})
            states = history.states(world, "t1")
            same(states[-1], "SUCCESS" if again else "FAILURE")
            same(set(states[: len(states) - again]), {"FAILURE"}, "states before")
            hooks = [name for name, task_id, _ in world.told if task_id == "t1"]
            same(hooks[:3], ["before_start", "on_failure", "after_return"], "hooks")
            noticed = world.trace.where(Failed)[0].time
            assert limit - 0.01 <= noticed <= limit + 1.1, f"limit {limit} noticed at {noticed}"
        assert len(world.begins("errback")) <= 1 + bool(over)
        assert bool(world.begins("errback")) == (over and errback)
        history.all_settled(world)


@law("S18", setup=alone, soft=st.sampled_from([1, 3]), more=st.sampled_from([1, 2]), stubborn=st.booleans(),
     examples=15, since="5.7")  # fmt: skip
def law_s18_the_soft_limit_comes_first_and_the_hard_one_counts_from_the_start_too(
    setup: Setup, soft: int, more: int, stubborn: bool
) -> None:
    told: list[tuple[str, float]] = []
    with World(setup) as world:

        def body() -> None:
            try:
                time.sleep(20.0)
            except SoftTimeLimitExceeded:
                told.append(("soft", world.sim.now))
                if not stubborn:
                    raise
                time.sleep(20.0)

        task = world.app.task(name="limited", shared=False, soft_time_limit=soft, time_limit=soft + more)(body)
        task.apply_async(task_id="t1")
        world.run()
        ((_, now),) = told
        assert soft - 0.01 <= now <= soft + 1.1, f"soft limit at {now}"
        failed = world.trace.where(Failed)
        limit = soft + more if stubborn else soft
        same({event.exception for event in failed}, {"TimeLimitExceeded" if stubborn else "SoftTimeLimitExceeded"})
        assert limit - 0.01 <= failed[0].time <= limit + 1.1, f"failed at {failed[0].time}"
        same(world.result("t1").state, "FAILURE")
        history.all_settled(world)


@law("S10", setup=alone, others=st.integers(0, 2), examples=15)
def law_s10_an_unknown_task_is_rejected_and_fails(setup: Setup, others: int) -> None:
    with World(setup) as world:
        task = world.task()
        world.app.send_task("nobody", task_id="unknown")
        for _ in range(others):
            world.call(task)
        world.run()
        same([event.task for event in world.trace.where(TaskUnknown)], ["nobody"])
        same(history.states(world, "unknown"), ["FAILURE"])
        same([word for word in history.mains(world, "unknown") if word in lifecycle.SETTLES], ["reject"])
        same(len(world.trace.where(Received)), others)
        for number in range(others):
            same(history.states(world, f"t{number + 1}"), ["SUCCESS"])
        history.all_settled(world)


@law("S10", setup=alone, kind=st.sampled_from(["headers", "refused", "broken"]), examples=15)
def law_s10_what_is_no_task_is_settled_and_stores_nothing(setup: Setup, kind: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "headers": {"body": {"no": "task"}, "serializer": "json"},
        "refused": {
            "body": b"no",
            "content_type": "application/x-python-serialize",
            "content_encoding": "binary",
            "headers": {"task": "act", "id": "x"},
        },
        "broken": {"body": "{", "content_type": "application/json", "content_encoding": "utf-8"},
    }
    with World(setup) as world:
        task = world.task()
        with world.app.producer_pool.acquire() as producer:
            producer.publish(routing_key="celery", exchange="", **bodies[kind])
        world.call(task)
        world.run()
        same(len(world.trace.where(TaskRejected)), int(kind != "broken"))
        # On Redis nothing tells a message without an id from other entries of a list.
        if setup.broker == "amqp":
            settled = len(world.trace.where(Acked)), len(world.trace.where(Rejected))
            same(settled, (2, 0) if kind == "broken" else (1, 1), "acked and rejected")
        same(history.states(world, "t1"), ["SUCCESS"])
        same(len(world.trace.where("StateStored")), 1)
        history.all_settled(world)


@law("S20", setup=draw.setups(workers=1, broker="amqp", late=st.sampled_from([True, True, False])),
     cancels=st.booleans(), running=st.integers(1, 2), speaks_of=("redelivery",), examples=25)  # fmt: skip
def law_s20_a_cut_cancels_late_tasks_if_told_to_and_publishes_nothing(
    setup: Setup, cancels: bool, running: int
) -> None:
    setup = replace(setup, slots=2)
    with World(setup, worker_cancel_long_running_tasks_on_connection_loss=cancels) as world:
        task = world.task()
        calls = [world.call(task, Turn(seconds=20.0), Turn(seconds=1.0)).id for _ in range(running)]
        world.sim.cut(worker="w1", server="broker", at=2.25)
        world.run()
        for task_id in calls:
            cancelled = cancels and setup.late
            ends = [run.state for run in world.trace.of(task_id).attempts]
            same(ends, (["UNKNOWN"] if cancelled else ["SUCCESS"]) + ["SUCCESS"] * setup.late, "runs")
            # What has come twice and succeeded is stored once, or twice (S55).
            same(history.states(world, task_id)[0], "RETRY" if cancelled else "SUCCESS")
            same([name for name, told, _ in world.told if told == task_id].count("on_retry"), int(cancelled))
            same(len(world.trace.where("Published", task_id=task_id)), 1, "messages")
        history.all_settled(world)


@law("S20", setup=alone, running=st.integers(1, 2), seconds=st.sampled_from([5.0, 20.0]), ignore_result=st.booleans(),
     speaks_of=("kill",), since="5.6")  # fmt: skip
def law_s20_a_cold_shutdown_cancels_what_runs_and_publishes_nothing(
    setup: Setup, running: int, seconds: float, ignore_result: bool
) -> None:
    # S43 with S20: early ones are lost with RETRY stored, late ones come back.
    with World(setup) as world:
        task = world.task(base=Hooked, ignore_result=ignore_result)
        over = world.call(task).id
        world.sim.run(until=1.25)
        calls = [world.call(task, Turn(seconds=seconds), Turn(seconds=1.0)).id for _ in range(running)]
        world.sim.stop(worker="w1", how="cold", at=2.25)
        world.sim.start_worker("w2", at=60.0)
        world.run()
        same(world.sim.workers["w1"].state, "down")
        for number, task_id in enumerate(calls):
            began = number < setup.slots
            lost = began and not setup.late
            starts = world.begins(task_id)
            same([note.time < 3 for note in starts], [True] if lost else [True, False] if began else [False], "runs")
            ended = ["RETRY"] if lost else [] if ignore_result else ["SUCCESS"]
            same(history.states(world, task_id), ended, "states")
            same([name for name, told, _ in world.told if told == task_id].count("on_retry"), int(lost))
            same(len(world.trace.where("Published", task_id=task_id)), 1, "messages")
            came = any(event.process == "w1" for event in world.trace.where(Delivered, task_id=task_id))
            same([note.seen["delivery_info"]["redelivered"] for note in starts][-1], came and not lost, "redelivered")
        same(history.states(world, over), [] if ignore_result else ["SUCCESS"], "what was over")
        same([name for name, told, _ in world.told if told == over][1:], ["on_success", "after_return"], "its hooks")
        history.all_settled(world)


@law("S18", setup=alone, soft=st.booleans(), source=st.sampled_from(["call", "call", "task", "setting", "both"]),
     examples=14)  # fmt: skip
def law_s18_each_limit_counts_alone_wherever_it_is_given(setup: Setup, soft: bool, source: str) -> None:
    name = "soft_time_limit" if soft else "time_limit"
    settings = {f"task_{name}": 3} if source == "setting" else {}
    with World(setup, **settings) as world:
        own = {"task": {name: 3}, "both": {name: 30}}.get(source, {})
        world.call(world.task(**own), Turn(seconds=9.0), **({name: 3} if source in ("call", "both") else {}))
        world.run()
        failed = world.trace.where(Failed)
        same({event.exception for event in failed}, {"SoftTimeLimitExceeded" if soft else "TimeLimitExceeded"})
        assert 2.99 <= failed[0].time <= 4.1, f"limit 3 noticed at {failed[0].time}"
        history.all_settled(world)


@law("S18", setup=draw.setups(workers=1, slots=1, late=False), soft=st.booleans(), cut=st.sampled_from([0.25, 2.25]),
     examples=10, since="5.7")  # fmt: skip
def law_s18_a_lost_connection_frees_no_task_from_its_limit(setup: Setup, soft: bool, cut: float) -> None:
    with World(setup) as world:
        task = world.task(**{"soft_time_limit" if soft else "time_limit": 12})
        world.call(task, Turn(seconds=60.0))
        world.sim.cut(worker="w1", server="broker", at=cut)
        world.run()
        failed = world.trace.where(Failed)
        same({event.exception for event in failed}, {"SoftTimeLimitExceeded" if soft else "TimeLimitExceeded"})
        assert 11.99 <= failed[0].time <= 13.1, f"limit 12 noticed at {failed[0].time}"
        history.all_settled(world)
