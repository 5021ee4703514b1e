"""S29 to S32: ETA and expiry."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import strategies as st

from tasksim.events import Expired, MessageExpired, Published, Received, Revoked, Started
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import Setup, Turn, World, instant

zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", None])
whens = st.sampled_from([-30.0, -0.5, 0.25, 3.0, 17.123456, 400.0])


@law("S29", setup=draw.setups(), now=st.sampled_from([0.0, 2.5, 31.0]), when=whens, zone=zones, utc=st.booleans(),
     kind=st.sampled_from(["countdown", "aware", "naive"]), examples=24)  # fmt: skip
def law_s29_a_countdown_is_an_eta_by_the_senders_clock_and_a_naive_eta_is_utc(
    setup: Setup, now: float, when: float, zone: str | None, utc: bool, kind: str
) -> None:
    settings: dict[str, Any] = {"enable_utc": utc, **({} if zone is None else {"timezone": zone})}
    with World(setup, **settings) as world:
        task = world.task()
        world.sim.run(until=now)
        eta = instant(now + when)
        other = datetime.timezone(datetime.timedelta(hours=-7))
        kinds: dict[str, dict[str, Any]] = {
            "countdown": {"countdown": when}, "aware": {"eta": eta.astimezone(other)},
            "naive": {"eta": eta.replace(tzinfo=None)},
        }  # fmt: skip
        world.call(task, **kinds[kind])
        world.run()
        told = world.trace.where(Published)[0].eta
        assert told is not None
        found = datetime.datetime.fromisoformat(told)
        same(found if found.tzinfo else found.replace(tzinfo=datetime.UTC), eta, "eta in the message")
        (began,) = world.begins("t1")
        assert began.time >= now + when - 1e-5, f"began at {began.time}, before its ETA {now + when}"
        same(round(began.time, 2), round(max(now, now + when), 2), "start")
        history.all_settled(world)


@law("S30", setup=draw.setups(workers=1, slots=1, prefetch=0), busy=st.lists(draw.seconds, max_size=3),
     etas=st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True))  # fmt: skip
def law_s30_an_eta_task_is_received_at_once_and_queues_when_its_time_comes(
    setup: Setup, busy: list[float], etas: list[int]
) -> None:
    with World(setup) as world:
        task = world.task()
        joins = [(0.0, world.call(task, Turn(seconds=duration)).id, duration) for duration in busy]
        joins += [
            (eta + 0.25, world.call(task, Turn(seconds=3.0), countdown=eta + 0.25).id, 3.0) for eta in etas
        ]  # fmt: skip
        world.run()
        free = 0.0
        for joined, task_id, duration in sorted(joins, key=lambda one: one[0]):
            free = max(free, joined)
            same(world.starts(task_id), [round(free, 2)], f"start of {task_id}")
            same([round(e.time, 2) for e in world.trace.where(Received, task_id=task_id)], [0.0], "received")
            free += duration
        history.all_settled(world)


@law("S31", setup=draw.setups(workers=1, slots=1, prefetch=4), busy=st.sampled_from([0.0, 2.75, 11.75]),
     later=st.sampled_from([0, 5, 5, 20]), of_start=st.booleans(), margin=st.sampled_from([-2.75, -0.5, 0.0, 20.0]),
     absolute=st.booleans(), seconds=draw.seconds, ignored=st.booleans(), examples=42)  # fmt: skip
def law_s31_expiry_is_tested_when_a_slot_is_free_and_never_once_the_body_runs(
    setup: Setup, busy: float, later: int, of_start: bool, margin: float, absolute: bool, seconds: float, ignored: bool
) -> None:
    # So much before or after its ETA, or the moment at which a slot is free.
    begins = max(busy, later)
    expires = max(0.25, (begins if of_start else later) + margin)
    with World(setup) as world:
        task = world.task(ignore_result=ignored)
        world.call(task, Turn(seconds=busy))
        due: Any = instant(expires) if absolute else expires
        world.call(task, Turn(seconds=seconds), countdown=later or None, expires=due)
        world.run()
        runs = begins <= expires
        same(world.starts("t2"), [float(begins)] if runs else [], "start")
        same(history.states(world, "t2"), [] if ignored else ["SUCCESS" if runs else "REVOKED"])
        same([round(event.time, 2) for event in world.trace.where(Expired)], [] if runs else [float(begins)], "expired")
        same(len(world.trace.where(Received, task_id="t2")), 1, "received")
        if not runs:
            ended = ["ack", "task_revoked expired"] if ignored else ["REVOKED", "ack", "task_revoked expired"]
            same(sorted(history.mains(world, "t2")[-len(ended) :]), ended)
        history.all_settled(world)


@law("S31", setup=draw.setups(workers=1, broker="redis"), gone=st.sampled_from([0.5, 30.0]), absolute=st.booleans(),
     naive=st.booleans(), zone=zones, examples=25)  # fmt: skip
def law_s31_what_arrives_expired_is_discarded_unreceived_and_its_id_is_revoked(
    setup: Setup, gone: float, absolute: bool, naive: bool, zone: str | None
) -> None:
    settings: dict[str, Any] = {} if zone is None else {"timezone": zone}
    with World(setup, **settings) as world:
        task = world.task()
        due = instant(-gone)
        expires: Any = (due.replace(tzinfo=None) if naive else due) if absolute else -gone
        world.call(task, expires=expires)
        world.run()
        same(sorted(history.mains(world, "t1")), ["REVOKED", "ack", "task_revoked expired"])
        world.call(task, task_id="t1")
        world.run()
        same(sorted(history.mains(world, "t1")[3:]), ["REVOKED", "ack", "task_revoked"])
        same((len(world.trace.where(Received)), len(world.trace.where(Started))), (0, 0))
        history.all_settled(world)


@law("S31", setup=draw.setups(), delay=st.sampled_from([3, 10]), expires=st.integers(1, 50), speaks_of=("retry",),
     examples=20)  # fmt: skip
def law_s31_a_retry_expires_when_its_first_message_would(setup: Setup, delay: int, expires: int) -> None:
    with World(setup) as world:
        again = Turn("retry", options=(("countdown", delay),))
        world.call(world.task(max_retries=None), *[again] * 60, Turn(), expires=expires + 0.5)
        world.run()
        runs = int((expires + 0.5) // (delay + 1)) + 1
        same(world.starts("t1"), [float(run * (delay + 1)) for run in range(runs)], "starts")
        sent = (runs - 1) * (delay + 1) + 1
        late = sent > expires + 0.5
        room = setup.workers * setup.slots * setup.prefetch > 1 or not setup.late
        # S32: what is late already when it is sent RabbitMQ drops, unless somebody takes it that moment.
        dropped = late and setup.broker == "amqp" and not room
        same(history.states(world, "t1"), ["RETRY"] * runs + ["REVOKED"] * (not dropped))
        # On receipt if it is late already, else at its ETA.
        found = [round(event.time, 2) for event in world.trace.where(Expired)]
        same(found, [] if dropped else [float(sent if late else sent + delay)], "expired")
        history.all_settled(world)


@law("S32", setup=draw.setups(workers=0), expires=st.sampled_from([2.25, 9.25]), up=st.sampled_from([1.0, 5.0, 30.0]),
     absolute=st.booleans())  # fmt: skip
def law_s32_what_expires_in_its_queue_is_dropped_by_rabbitmq_and_revoked_by_a_worker_on_redis(
    setup: Setup, expires: float, up: float, absolute: bool
) -> None:
    with World(setup) as world:
        world.call(world.task(), expires=instant(expires) if absolute else expires)
        world.sim.run(until=up)
        world.sim.start_worker("w1", wait=True)
        ready = world.sim.now
        world.run()
        lives, rabbit = ready <= expires, setup.broker == "amqp"
        same(len(world.begins("t1")), int(lives), "runs")
        ended = ["SUCCESS"] if lives else [] if rabbit else ["REVOKED"]
        same(history.states(world, "t1"), ended)
        same([event.time for event in world.trace.where(MessageExpired)], [expires] if rabbit and not lives else [])
        same(len(world.trace.where(Expired)), int(not lives and not rabbit))
        same(len(world.trace.where(Revoked)), 0)
        history.all_settled(world)


@law("S32", setup=draw.setups(workers=0), given=st.sampled_from([None, None, 9.25]), up=st.sampled_from([5.0, 30.0]),
     examples=15)  # fmt: skip
def law_s32_a_task_has_an_expiry_of_its_own_and_a_calls_goes_before_it(
    setup: Setup, given: float | None, up: float
) -> None:
    with World(setup) as world:
        task = world.task(expires=2.25)
        world.call(task, **({} if given is None else {"expires": given}))
        world.sim.start_worker("w1", at=up)
        world.run()
        lives = given is not None and up < given - 2.0  # a worker needs a second or so to start
        same(len(world.begins("t1")), int(lives), "runs")
        if setup.broker == "amqp" and not lives:
            same([event.time for event in world.trace.where(MessageExpired)], [given or 2.25], "expired in its queue")
        history.all_settled(world)


@law("S29", setup=draw.setups(broker="amqp"), kind=st.sampled_from(["countdown", "eta", "retry"]),
     when=st.sampled_from([3, 17, 400]), part=st.sampled_from([0.0, 0.25]), examples=15)  # fmt: skip
def law_s29_where_the_broker_delays_a_task_it_starts_when_it_is_due(
    setup: Setup, kind: str, when: int, part: float
) -> None:
    # RabbitMQ holds it for whole seconds (native delayed delivery), the worker for the rest.
    quorum = {"task_default_queue_type": "quorum", "task_default_exchange_type": "topic"}
    with World(setup, **quorum) as world:
        task = world.task()
        world.sim.run(until=1.0)
        if kind == "retry":
            world.call(task, Turn("retry", 1.0, (("countdown", when + part),)), Turn())
        elif kind == "eta":
            world.call(task, eta=instant(1.0 + when + part))
        else:
            world.call(task, countdown=when + part)
        world.run()
        due = 1.0 + when + part
        same(world.starts("t1"), [1.0, round(due + 1.0, 2)] if kind == "retry" else [round(due, 2)], "starts")
        history.all_settled(world)
