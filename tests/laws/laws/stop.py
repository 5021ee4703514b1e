"""S6, S19, S42 to S47: warm and soft shutdown, and what is revoked."""

from __future__ import annotations

from celery import chain
from hypothesis import strategies as st

from tasksim.events import Accepted, Received, Revoked, StateStored
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import Setup, Turn, World

alone = draw.setups(workers=1)
#: A worker's loop learns of a signal when it wakes the next time: it fires its timers, of which one is due each two
#: seconds, and sleeps for a second at least. What it is given until then it takes.
NOTICED = 3.1


@law("S42", setup=alone, durations=st.lists(st.sampled_from([1.0, 3.0, 6.0]), min_size=1, max_size=5),
     when=st.integers(0, 4), eta=st.booleans(), speaks_of=("redelivery",))  # fmt: skip
def law_s42_a_warm_shutdown_lets_running_tasks_end_and_gives_the_others_back(
    setup: Setup, durations: list[float], when: int, eta: bool
) -> None:
    with World(setup) as world:
        task = world.task()
        calls = [world.call(task, Turn(seconds=duration)).id for duration in durations]
        calls += [world.call(task, countdown=20.0).id] if eta else []
        world.sim.stop(worker="w1", at=when + 0.25)
        world.sim.start_worker("w2", at=30.0)
        world.run()
        same((world.sim.workers["w1"].state, world.sim.workers["w1"].exitcode), ("down", 0))
        for task_id in calls:
            (attempt,) = world.trace.of(task_id).attempts
            same((attempt.state, history.states(world, task_id)), ("SUCCESS", ["SUCCESS"]))
            same(attempt.worker, "w1" if attempt.started <= when + 0.25 + NOTICED else "w2", f"who ran {task_id}")
            seen = [e.process for e in world.trace.where("Delivered", task_id=task_id)]
            same(attempt.redelivered, attempt.worker == "w2" and "w1" in seen, f"redelivered of {task_id}")
        late = [e for e in world.trace.where("Delivered") if e.process == "w1" and e.time > when + 0.25 + NOTICED]
        same(late, [], "delivered to a worker that stops")
        last = next(e.time for e in world.trace.where("WorkerDown"))
        ends = [a.ended or 0.0 for a in world.trace.attempts if a.worker == "w1"]
        assert 0 <= last - max([when + 0.25, *ends]) < 5.0, f"w1 ended at {last}"
        history.all_settled(world)


@law("S42", setup=alone, retries=st.integers(1, 2), speaks_of=("retry",), examples=20)
def law_s42_a_retry_during_a_warm_shutdown_survives(setup: Setup, retries: int) -> None:
    with World(setup) as world:
        world.call(world.task(), *[Turn("retry", 2.0, (("countdown", 3),))] * retries, Turn())
        world.sim.stop(worker="w1", at=1.25)
        world.sim.start_worker("w2", at=20.0)
        world.run()
        seen = world.begins("t1")
        same([note.seen["retries"] for note in seen], list(range(retries + 1)))
        same([note.process[:2] for note in seen], ["w1"] + ["w2"] * retries)
        same(history.states(world, "t1"), ["RETRY"] * retries + ["SUCCESS"])
        history.all_settled(world)


@law("S44", setup=alone, timeout=st.sampled_from([3.0, 8.0]), seconds=st.sampled_from([2.0, 5.0, 30.0]), examples=25)
def law_s44_a_soft_shutdown_gives_running_tasks_all_of_its_time(setup: Setup, timeout: float, seconds: float) -> None:
    with World(setup, worker_soft_shutdown_timeout=timeout) as world:
        world.call(world.task(), Turn(seconds=seconds), Turn())
        world.sim.stop(worker="w1", how="cold", at=1.25)
        world.sim.start_worker("w2", at=60.0)
        world.run()
        ends = seconds <= 1.25 + timeout
        first = world.trace.of("t1").attempts[0]
        same(first.state == "SUCCESS", ends, "the run could end")
        down = world.trace.where("WorkerDown")[0].time
        assert 1.2 + timeout <= down <= 1.3 + timeout + 1.5, f"w1 ended at {down}"
        same(len(world.begins("t1")), 2 if setup.late and not ends else 1, "runs")
        same(world.result("t1").state, "SUCCESS" if ends or setup.late else "RETRY")
        history.all_settled(world)


@law("S46", setup=alone, when=st.sampled_from([0.25, 3.25]), ids=st.integers(1, 2), examples=30, since="5.6")
def law_s46_a_revoke_is_stored_at_once_and_the_message_discarded_and_acked_in_its_turn(
    setup: Setup, when: float, ids: int
) -> None:
    # S6: what is discarded is acked; S19: no errback, no hook.
    setup = Setup(**{**vars(setup), "slots": 1})
    with World(setup) as world:
        task, after = world.task(), world.task("after")
        world.call(task, Turn(seconds=6.0))
        doomed = [world.call(task, link_error=after.si()).id for _ in range(ids)]
        last = world.call(task)
        world.sim.run(until=when)
        world.app.control.revoke(doomed)
        world.run()
        for task_id in doomed:
            stored = world.trace.where(StateStored, task_id=task_id)
            same({event.state for event in stored}, {"REVOKED"})
            assert stored[0].time <= when + 1.0, f"stored at {stored[0].time}"
            same(len(world.trace.where(Revoked, task_id=task_id, terminated=False)), 1, "task_revoked")
            same(len(world.begins(task_id)), 0, "runs")
            same([name for name, told, _ in world.told if told == task_id], [], "hooks")
        # At no latency an ack may wait for the next tick of the worker's loop.
        (began,) = world.starts(last.id)
        assert 6.0 <= began <= 6.0 + 1.5 * ids, f"the next task began at {began}"
        same([event.time >= 6.0 for event in world.trace.where(Revoked)], [True] * ids)
        same(len(world.trace.where("Published", task="after")), 0, "errbacks")
        history.all_settled(world)


@law(
    "S46", setup=alone, end=st.sampled_from(["ok", "raise"]), when=st.sampled_from([0.5, 3.0]), examples=12, since="5.7"
)
def law_s46_a_revoke_leaves_alone_what_runs_or_has_ended(setup: Setup, end: str, when: float) -> None:
    with World(setup) as world:
        world.call(world.task(), Turn(end))
        world.sim.run(until=when)
        world.app.control.revoke("t1")
        world.run()
        same(len(world.begins("t1")), 1, "runs")
        same(history.states(world, "t1"), ["SUCCESS" if end == "ok" else "FAILURE"])
        same(len(world.trace.where(Revoked)), 0, "task_revoked")
        history.all_settled(world)


@law("S46", setup=alone, stamps=st.lists(st.sampled_from(["red", "blue", None]), min_size=1, max_size=3),
     terminate=st.booleans(), several=st.booleans(), examples=20)  # fmt: skip
def law_s46_a_revoke_by_stamps_takes_those_that_bear_them_and_no_others(
    setup: Setup, stamps: list[str | None], terminate: bool, several: bool
) -> None:
    setup = Setup(**{**vars(setup), "slots": 1})
    with World(setup) as world:
        task = world.task()
        world.call(task, Turn(seconds=6.0), stamped_headers=["team"], team="red")
        for stamp in stamps:
            world.call(task, **({} if stamp is None else {"stamped_headers": ["team"], "team": stamp}))
        world.sim.run(until=1.25)
        world.app.control.revoke_by_stamped_headers(
            {"team": ["green", "red"] if several else "red"}, terminate=terminate
        )
        world.run()
        ends = [run.state for run in world.trace.of("t1").attempts]
        same(ends, ["UNKNOWN" if terminate else "SUCCESS"], "who runs is ended on demand only")
        for number, stamp in enumerate(stamps):
            same(len(world.begins(f"t{number + 2}")), int(stamp != "red"), f"runs of one stamped {stamp}")
        revoked = {event.task_id for event in world.trace.where(Revoked)}
        doomed = {f"t{number + 2}" for number, stamp in enumerate(stamps) if stamp == "red"}
        same(revoked, doomed | ({"t1"} if terminate else set()), "task_revoked")
        history.all_settled(world)


@law("S47", setup=alone, seconds=st.sampled_from([0.0, 0.1]), examples=25)
def law_s47_terminate_at_the_moment_of_the_start_ends_it_as_well(setup: Setup, seconds: float) -> None:
    with World(setup) as world:
        doomed = world.call(world.task(), Turn(seconds=20.0))
        world.sim.run(until=seconds)
        world.app.control.revoke(doomed.id, terminate=True)
        world.run()
        same(history.states(world, doomed.id)[-1], "REVOKED")
        assert not [run for run in world.trace.attempts if run.state == "SUCCESS"], "it ran to its end"
        same(len(world.trace.where(Revoked)), 1, "task_revoked")
        history.all_settled(world)


@law("S47", setup=alone, eta=st.sampled_from([5, 30]), retry=st.booleans(), examples=30)
def law_s47_a_revoked_eta_task_or_waiting_retry_is_discarded_at_its_eta(setup: Setup, eta: int, retry: bool) -> None:
    with World(setup) as world:
        task = world.task()
        if retry:
            world.call(task, Turn("retry", 0.5, (("countdown", eta),)), Turn())
        else:
            world.call(task, countdown=eta + 0.5)
        world.sim.run(until=2.25)
        world.app.control.revoke("t1")
        world.run()
        same(len(world.begins("t1")), int(retry), "runs")
        same([round(event.time, 2) for event in world.trace.where(Revoked)], [eta + 0.5], "task_revoked")
        same(history.states(world, "t1")[-1], "REVOKED")
        same(len(world.trace.where(Received)), 1 + retry, "received")
        history.all_settled(world)


@law("S47", setup=alone, running=st.booleans(), link=st.booleans(), speaks_of=("kill",), examples=30)
def law_s47_terminate_ends_what_runs_and_waits_for_what_does_not(setup: Setup, running: bool, link: bool) -> None:
    setup = Setup(**{**vars(setup), "slots": 1, "prefetch": 4})
    with World(setup) as world:
        task, after = world.task(), world.task("after")
        if not running:
            world.call(task, Turn(seconds=4.0))
        doomed = world.call(task, Turn(seconds=20.0), link_error=after.si(), link=after.si() if link else None)
        world.sim.run(until=1.25)
        world.app.control.revoke(doomed.id, terminate=True)
        world.sim.run(until=30.0)
        world.run()
        same(len(world.begins(doomed.id)), int(running), "runs")
        same({event.terminated for event in world.trace.where(Revoked)}, {running}, "terminated")
        same(history.states(world, doomed.id)[-1], "REVOKED")
        same([world.trace.where(Accepted, task_id=doomed.id) != []], [running])
        same(len(world.trace.where("Published", task="after")), 0, "links and errbacks")
        assert "on_failure" not in [name for name, told, _ in world.told if told == doomed.id]
        history.all_settled(world)


@law("S45", setup=alone, then=st.sampled_from(["stays", "restarts", "has told another"]), examples=18)
def law_s45_revoked_ids_are_forgotten_by_a_worker_that_starts_again_but_not_by_its_neighbours(
    setup: Setup, then: str
) -> None:
    with World(setup) as world:
        task = world.task()
        world.app.control.revoke("late")
        world.sim.run(until=2.0)
        if then == "has told another":
            world.sim.start_worker("w2", wait=True)
        if then != "stays":
            world.sim.stop(worker="w1")
            world.sim.run(until=world.sim.now + 3.0)
        if then == "restarts":
            world.sim.start_worker("w1", wait=True)
        world.call(task, task_id="late")
        world.run()
        forgotten = then == "restarts"
        same(len(world.begins("late")), int(forgotten), "runs")
        same(history.states(world, "late")[-1], "SUCCESS" if forgotten else "REVOKED")
        history.all_settled(world)


@law("S19", setup=alone, later=st.integers(1, 2), expires=st.booleans(), examples=20)
def law_s19_a_revoked_or_expired_link_leaves_the_rest_of_its_chain_pending(
    setup: Setup, later: int, expires: bool
) -> None:
    with World(setup) as world:
        task, after = world.task(), world.task("after")
        links = [task.si().set(task_id=f"link{number}") for number in range(later + 1)]
        first = {"countdown": 5, **({"expires": 2} if expires else {})}
        chain(*links).apply_async(link_error=after.si(), **first)
        world.sim.run(until=1.0)
        if not expires:
            world.app.control.revoke("link0")
        world.run()
        same(history.states(world, "link0")[-1], "REVOKED")
        for number in range(1, later + 1):
            same(history.states(world, f"link{number}"), [], f"link {number}")
        same((len(world.bodies), len(world.trace.where("Published", task="after"))), (0, 0))
        history.all_settled(world)
