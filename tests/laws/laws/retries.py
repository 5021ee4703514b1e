"""S21 to S23, S25 to S28: how often, when, and with what end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from celery.exceptions import Retry
from hypothesis import strategies as st

from tasksim.events import Failed, Published
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import raised_by, same
from tests.laws.worlds import Hooked, OtherTrouble, Setup, Trouble, Turn, World, instant

RETRY = ("retry",)
setups = draw.setups()
delays = st.sampled_from([0, 1, 7, 60])


def rhythm(world: World, delays: list[float], task_id: str = "t1") -> None:
    """The runs of a task of one second each, by starts, numbers and messages."""
    starts = [0.0]
    for delay in delays:
        starts.append(round(starts[-1] + 1 + delay, 2))
    same(world.starts(task_id), starts, "starts")
    numbers = list(range(len(starts)))
    same([one.seen["retries"] for one in world.begins(task_id)], numbers, "retries")
    sent = world.trace.where(Published, task_id=task_id)
    same([event.retries for event in sent], numbers, "retries in messages")
    etas = [
        None,
        *(instant(start).isoformat() if delay else None for start, delay in zip(starts[1:], delays, strict=True)),
    ]
    same([event.eta for event in sent], etas, "etas in messages")
    history.all_settled(world)


def told(world: World, options: dict[str, Any], by_class: bool) -> Any:
    """A task with these options: of its decorator, or attributes of its class."""
    if not by_class:
        return world.task(**options)
    return world.task(base=type("Own", (Hooked,), {"abstract": True, "told": world.told, **options}))


@law("S21", setup=setups, limit=st.sampled_from([0, 1, 2, 3, 5]), delay=delays, speaks_of=RETRY,
     where=st.sampled_from(["over none", "call", "both", "autoretry", "retry_kwargs", "default", "task"]),
     examples=40)  # fmt: skip
def law_s21_there_are_max_retries_and_one_runs(setup: Setup, limit: int, delay: int, where: str) -> None:
    limit = 3 if where == "default" else limit
    options: dict[str, Any] = {"default_retry_delay": delay}
    if where in ("autoretry", "retry_kwargs", "both"):
        options |= {"autoretry_for": (Trouble,), "max_retries": 9}
    options |= {"retry_kwargs": {"max_retries": limit}} if where == "retry_kwargs" else {}
    options |= {"max_retries": limit} if where in ("task", "autoretry") else {}
    options |= {"max_retries": None} if where == "over none" else {}
    given: dict[str, Any] = {"max_retries": limit} if where in ("call", "both", "over none") else {}
    # What a retry raises at its own end is not retried automatically either.
    given |= {"exc": Trouble("given")} if where == "both" else {}
    manual = where not in ("autoretry", "retry_kwargs")
    with World(setup) as world:
        world.call(world.task(**options), Turn("retry" if manual else "raise", options=tuple(given.items())))
        world.run()
        rhythm(world, [delay] * limit)
        same(history.states(world, "t1"), ["RETRY"] * limit + ["FAILURE"])
        trouble = where in ("autoretry", "retry_kwargs", "both")
        name = "Trouble" if trouble else "MaxRetriesExceededError"
        same([event.exception for event in world.trace.where(Failed)], [name], "at the end")
        told = [detail for hook, _, detail in world.told if hook == "on_retry"]
        same(told, ["Trouble" if trouble else "NoneType"] * limit, "exceptions of retries")


@law("S21", setup=setups, limit=st.integers(0, 2), given=st.sampled_from([0, 1, 4]), speaks_of=RETRY, examples=12,
     order=st.permutations(["with", "without", "with", "without"]))  # fmt: skip
def law_s21_a_limit_given_to_a_retry_is_for_that_one_alone(
    setup: Setup, limit: int, given: int, order: list[str]
) -> None:
    setup = replace(setup, slots=1, workers=1)
    with World(setup) as world:
        task = world.task(max_retries=limit, default_retry_delay=2)
        limits = {}
        for which in order:
            options = (("max_retries", given),) if which == "with" else ()
            limits[world.call(task, Turn("retry", 0.5, options)).id] = given if options else limit
        world.run()
        same(
            {task_id: len(world.begins(task_id)) for task_id in limits},
            {one: limits[one] + 1 for one in limits},
            "runs",
        )
        history.all_settled(world)


@law("S21", setup=setups, runs=st.integers(4, 9), speaks_of=RETRY, examples=12)
def law_s21_none_is_no_limit(setup: Setup, runs: int) -> None:
    with World(setup) as world:
        task = world.task(max_retries=None, default_retry_delay=2)
        world.call(task, *[Turn("retry")] * runs, Turn())
        world.run()
        rhythm(world, [2] * runs)
        same(history.states(world, "t1"), ["RETRY"] * runs + ["SUCCESS"])


@law("S22", setup=setups, default=st.sampled_from([None, 0, 3]), countdown=st.sampled_from([None, 0, 2, 11.5]),
     eta_in=st.sampled_from([None, 4, 25]), retries=st.integers(1, 2), speaks_of=RETRY)  # fmt: skip
def law_s22_countdown_wins_over_eta_and_eta_over_the_default(
    setup: Setup, default: int | None, countdown: float | None, eta_in: float | None, retries: int
) -> None:
    given: dict[str, Any] = {}
    given |= {} if countdown is None else {"countdown": countdown}
    given |= {} if eta_in is None else {"eta_in": eta_in}
    # A countdown of 0 puts no eta into the message, and takes none out of it.
    delay = countdown or eta_in if (countdown, eta_in) != (None, None) else default
    delay = 0 if delay is None and countdown == 0 else delay
    with World(setup) as world:
        options: dict[str, Any] = {} if default is None else {"default_retry_delay": default}
        task = world.task(**options)
        world.call(task, *[Turn("retry", options=tuple(given.items()))] * retries, Turn())
        world.run()
        rhythm(world, [180 if delay is None else delay] * retries)


@law("S23", setup=setups, exc=st.booleans(), inside=st.booleans(), limit=st.integers(0, 2))
def law_s23_the_given_exception_is_raised_else_max_retries_exceeded(
    setup: Setup, exc: bool, inside: bool, limit: int
) -> None:
    given = {"inside": inside, "countdown": 1, "max_retries": limit, **({"exc": Trouble("given")} if exc else {})}
    with World(setup) as world:
        world.call(world.task(), Turn("retry", options=tuple(given.items())))
        world.run()
        rhythm(world, [1] * limit)
        name = "Trouble" if exc else "MaxRetriesExceededError"
        same([event.exception for event in world.trace.where(Failed)], [name])
        same(type(world.result("t1").result).__name__, name)


@law("S25", setup=draw.setups(late=True), examples=15, since="5.7")
def law_s25_a_retry_that_cannot_be_published_rejects_its_message(setup: Setup) -> None:
    with World(setup) as world:
        world.call(world.task(), Turn("retry", options=(("countdown", 3),)))
        world.sim.refuse(30.0, at=0.5)
        world.run()
        same([word for word in history.mains(world, "t1") if word in ("ack", "reject", "requeue")], ["reject"])
        same((len(world.begins("t1")), history.states(world, "t1")), (1, ["FAILURE"]))
        history.all_settled(world)


@law("S25", setup=setups, exc=st.booleans(), examples=10)
def law_s25_called_as_a_function_retry_raises_and_sends_nothing(setup: Setup, exc: bool) -> None:
    with World(setup) as world:

        def body(task: Any) -> None:
            raise task.retry(**({"exc": Trouble("given")} if exc else {}))

        task = world.app.task(name="plain", shared=False, bind=True)(body)
        same(type(raised_by(task)), Trouble if exc else Retry, "raised")
        same(len(world.trace.where(Published)), 0)


@law("S57", setup=setups, retries=st.integers(0, 3), limit=st.integers(0, 3), delay=delays, expires=st.booleans(),
     examples=20)  # fmt: skip
def law_s57_an_eager_call_runs_here_retries_at_once_and_sends_nothing(
    setup: Setup, retries: int, limit: int, delay: int, expires: bool
) -> None:
    with World(setup) as world:
        task = world.task(max_retries=limit, default_retry_delay=delay)
        world.plan("t1", *[Turn("retry")] * retries, Turn())
        given = {"countdown": 30, **({"expires": 0} if expires else {})}
        result = task.apply(task_id="t1", **given)
        fails = retries > limit
        same(result.state, "FAILURE" if fails else "SUCCESS")
        runs = min(retries, limit) + 1
        same(world.starts("t1"), [float(run) for run in range(runs)], "starts")
        same([note.seen["retries"] for note in world.begins("t1")], list(range(runs)), "retries")
        same({note.process for note in world.begins("t1")}, {"client"}, "where")
        same(len(world.trace.where(Published)) + len(history.states(world, "t1")), 0, "sent and stored")


@law("S26", setup=setups, speaks_of=RETRY, delay=st.sampled_from([None, 2, 9]), default=st.sampled_from([1, 5]),
     ends=st.lists(st.sampled_from(["raise", "reject", "retry"]), min_size=1, max_size=3),
     last=st.sampled_from(["ok", "other", "close", "ignore"]), by_class=st.booleans(),
     throws=st.sampled_from([(), (Trouble, OtherTrouble)]))  # fmt: skip
def law_s26_autoretry_takes_all_but_ignore_retry_and_what_it_is_told_not_to(
    setup: Setup, delay: int | None, default: int, ends: list[str], last: str, by_class: bool, throws: Any
) -> None:
    # S12: what a task is expected to throw is logged otherwise, and that is all.
    options: dict[str, Any] = {
        "throws": throws, "autoretry_for": (Exception,), "dont_autoretry_for": (OtherTrouble,),
        "default_retry_delay": default, "max_retries": 9, "retry_kwargs": {} if delay is None else {"countdown": delay},
    }  # fmt: skip
    with World(setup) as world:
        task = told(world, options, by_class)
        world.call(task, *[Turn(end, options=(("countdown", 4),)) for end in ends], Turn(last))
        world.run()
        automatic = default if delay is None else delay
        rhythm(world, [4 if end == "retry" else automatic for end in ends])
        ended = {"ok": ["SUCCESS"], "ignore": []}.get(last, ["FAILURE"])
        same(history.states(world, "t1"), ["RETRY"] * len(ends) + ended)


@law("S27", setup=setups, factor=st.sampled_from([True, 0.5, 1, 1.9, 2, 3, 10]), retries=st.integers(1, 6),
     maximum=st.sampled_from([None, 1, 5, 60, 700]), countdown=st.booleans(), by_class=st.booleans(),
     speaks_of=RETRY)  # fmt: skip
def law_s27_backoff_is_the_factor_times_two_to_the_retries_below_its_maximum(
    setup: Setup, factor: float, retries: int, maximum: int | None, countdown: bool, by_class: bool
) -> None:
    options: dict[str, Any] = {
        "autoretry_for": (Trouble,), "retry_backoff": factor, "retry_jitter": False, "max_retries": retries,
    }  # fmt: skip
    options |= {} if maximum is None else {"retry_backoff_max": maximum}
    options |= {"retry_kwargs": {"countdown": 4}} if countdown else {}  # counts for nothing where there is a backoff
    with World(setup) as world:
        world.call(told(world, options, by_class), Turn("raise"))
        world.run()
        highest = 600 if maximum is None else maximum
        rhythm(world, [min(highest, int(max(1.0, factor)) * 2**number) for number in range(retries)])


@law("S28", setup=draw.setups(workers=1), default=st.booleans(), examples=8, speaks_of=RETRY,
     backoff=st.sampled_from([(1, 600), (1000, 1), (2, 600), (2, 1)]))  # fmt: skip
def law_s28_jitter_is_a_whole_number_from_0_to_the_backoff_and_each_occurs(
    setup: Setup, default: bool, backoff: tuple[int, int]
) -> None:
    # Of a factor of 1000 below a maximum of 1 half the delays are 0: the maximum comes first.
    calls, (factor, maximum) = 25, backoff
    options: dict[str, Any] = {} if default else {"retry_jitter": True}
    setup = Setup(**{**vars(setup), "prefetch": 0, "slots": 4})
    with World(setup) as world:
        task = world.task(autoretry_for=(Trouble,), retry_backoff=factor, retry_backoff_max=maximum, **options)
        for _ in range(calls):
            world.call(task, Turn("raise", 0.0), Turn("ok", 0.0))
        world.run()
        found = set()
        for number in range(1, calls + 1):
            first, second = world.begins(f"t{number}")
            found.add(round(second.time - first.time, 3))
        same(found, {float(delay) for delay in range(min(factor, maximum) + 1)}, "delays")
