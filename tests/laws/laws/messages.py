"""S24: what a retry keeps; links, chains and chords wait for the last run."""

from __future__ import annotations

from typing import Any

from celery import Task, chain, chord
from celery.app.task import Context
from hypothesis import strategies as st
from kombu import Exchange, Queue

from tasksim.events import HookCalled, Published, StateStored
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import REDIS, SEEN, Setup, Turn, World, instant

RETRY = ("retry",)
#: What RabbitMQ puts into a message that was dead-lettered; from 5.6 on a retry does not keep it.
DEAD = {"x-death": [{"queue": "other", "count": 1}]} if hasattr(Context, "_filter_x_death_headers") else {}
QUEUES = [Queue("celery"), Queue("other"), Queue("news", Exchange("news"), routing_key="news.red")]
#: What the request of a later run may have otherwise.
NEW = ("retries", "eta", "delivery_info", "correlation_id")

options = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(0, 9),
        "queue": st.just("other"),
        "time_limit": st.sampled_from([50, 90]),
        "soft_time_limit": st.sampled_from([20, 30]),
        "expires": st.sampled_from([3000, 5000.5]),
        # Before 5.7 a retry does not keep the call's.
        **({"ignore_result": st.booleans()} if hasattr(Task, "acks_on_failure") else {}),
        "headers": st.sampled_from([{"tenant": "blue"}, {"tenant": "blue", **DEAD}]),
        "countdown": st.sampled_from([0, 3]),
        "kwargs": st.just({"color": "red"}),
        "shadow": st.just("shade"),
        "stamped_headers": st.just(["team"]),
        "exchange": st.just("news"),
    },
)  # fmt: skip


@law("S24", setup=draw.setups(), given=options, retries=st.integers(1, 2), speaks_of=RETRY, examples=42)
def law_s24_a_retry_keeps_all_that_it_is_not_given_anew(setup: Setup, given: dict[str, Any], retries: int) -> None:
    if "exchange" in given:
        given = {**given, "routing_key": "news.red"}
        given.pop("queue", None)
    with World(setup, task_queues=QUEUES) as world:
        task = world.task()
        again = Turn("retry", options=(("countdown", 5),))
        stamp = {"team": "red"} if "stamped_headers" in given else {}
        world.call(task, *[again] * retries, Turn(), args=(1, "two"), **given, **stamp)
        world.run()
        first, *later = world.begins("t1")
        same(len(later), retries, "retries")
        same(list(first.seen["args"]), [1, "two"])
        same(first.seen["kwargs"], given.get("kwargs", {}))
        same(list(first.seen["timelimit"] or (None, None)), [given.get("time_limit"), given.get("soft_time_limit")])
        same(first.seen["ignore_result"], given.get("ignore_result", False))
        same(first.seen["stamps"] or {}, stamp)
        expires = given.get("expires")
        same(first.seen["expires"], None if expires is None else instant(expires).isoformat())
        assert (first.seen["headers"] or {}).items() >= given.get("headers", {}).items()
        for note in later:
            for name in SEEN:
                if name == "headers" and DEAD:
                    kept = {key: value for key, value in (first.seen[name] or {}).items() if key not in DEAD}
                    same(note.seen[name] or {}, kept, "headers of a retry")
                elif name == "parent_id":
                    same(note.seen[name], "t1", "parent_id of the retry of a task without one")
                elif name not in NEW:
                    same(note.seen[name], first.seen[name], f"{name} of a retry")
            for name in ("exchange", "routing_key", "priority"):
                same(note.seen["delivery_info"][name], first.seen["delivery_info"][name], f"{name} of a retry")
            assert not note.seen["delivery_info"]["redelivered"]
        told = given.get("routing_key", given.get("queue", "celery"))
        same({event.routing_key for event in world.trace.where(Published)}, {told})
        history.all_settled(world)


@law("S24", setup=draw.setups(), speaks_of=RETRY, args=st.sampled_from([None, (3,)]), queue=st.booleans(),
     priority=st.sampled_from([None, 4]), expires=st.sampled_from([None, 700]))  # fmt: skip
def law_s24_what_is_given_anew_is_taken(
    setup: Setup, args: Any, queue: bool, priority: int | None, expires: int | None
) -> None:
    given: dict[str, Any] = {"countdown": 4}
    given |= {"args": args} if args else {}
    given |= {"queue": "other"} if queue else {}
    given |= {"expires": expires} if expires else {}
    with World(setup, worker={"queues": ["celery", "other"]}) as world:
        world.call(world.task(), Turn("retry", options=tuple(given.items())), Turn(), args=(1,), expires=9000)
        world.run()
        _, second = world.begins("t1")
        same(list(second.seen["args"]), list(args or (1,)))
        same(second.seen["delivery_info"]["routing_key"], "other" if queue else "celery")
        # The new expires is counted from the retry, at 1 s.
        same(second.seen["expires"], instant(1 + expires if expires else 9000).isoformat())
        same(world.starts("t1"), [0.0, 5.0])


@law("S24", setup=draw.setups(), args=st.sampled_from([None, (), (5,), (5, 6)]), speaks_of=RETRY, since="5.7",
     kwargs=st.sampled_from([None, None, {}, {"a": 7}, {"c": 9}]), examples=20)  # fmt: skip
def law_s24_new_arguments_replace_those_that_they_stand_for(
    setup: Setup, args: tuple[int, ...] | None, kwargs: dict[str, int] | None
) -> None:
    seen: list[tuple[int, int, int]] = []
    kwargs = {} if args and kwargs and "a" in kwargs else kwargs  # the same twice is an error
    with World(setup) as world:

        def named(self: Any, a: int = 0, b: int = 0, c: int = 0) -> None:
            seen.append((a, b, c))
            if self.request.retries == 0:
                self.retry(args=args, kwargs=kwargs, countdown=1)

        world.app.task(name="named", shared=False, bind=True)(named).apply_async((1,), {"b": 2, "c": 3})
        world.run()
        # Keywords are replaced as a whole, but those that are not given stay beside new positional arguments.
        inherited = {"b": 2, "c": 3} if kwargs is None else kwargs
        given = dict(zip("abc", (1,) if args is None else args, strict=False))
        second = {"a": 0, "b": 0, "c": 0} | ((given | inherited) if args is None else (inherited | given))
        same(seen, [(1, 2, 3), (second["a"], second["b"], second["c"])], "arguments")
        history.all_settled(world)


@law("S24", setup=draw.setups(), retries=st.integers(1, 2), delay=st.sampled_from([0, 3]), examples=15, speaks_of=RETRY)
def law_s24_a_body_that_is_not_thrown_out_goes_on_and_its_retry_comes_as_well(
    setup: Setup, retries: int, delay: int
) -> None:
    with World(setup) as world:
        again = Turn("retry", options=(("countdown", delay), ("throw", False)))
        world.call(world.task(), *[again] * retries, Turn())
        world.run()
        numbers = list(range(retries + 1))
        same(world.starts("t1"), [float(number * (1 + delay)) for number in numbers], "starts")
        same([note.seen["retries"] for note in world.begins("t1")], numbers, "retries")
        same([event.state for event in world.trace.where("Finished")], ["SUCCESS"] * (retries + 1), "ends")
        same([name for name, _, _ in world.told].count("on_retry"), 0, "on_retry")
        history.all_settled(world)


@law("S24", setup=draw.setups(), retries=st.integers(1, 3), last=st.sampled_from(["ok", "raise"]),
     links=st.integers(1, 2), speaks_of=RETRY)  # fmt: skip
def law_s24_links_and_errbacks_wait_for_the_last_run_and_happen_once(
    setup: Setup, retries: int, last: str, links: int
) -> None:
    with World(setup) as world:
        task, after = world.task(), world.task("after")
        link = [after.si().set(task_id=f"link{number}") for number in range(links)]
        errback = after.si().set(task_id="errback")
        for name in ("link0", "link1"):
            world.plan(name, Turn(seconds=0.0))
        again = Turn("retry", options=(("countdown", 2),))
        world.call(task, *[again] * retries, Turn(last), link=link, link_error=errback)
        world.run()
        end = 1.0 + 3.0 * retries
        same(len(world.begins("t1")), retries + 1)
        for number in range(links):
            same(world.starts(f"link{number}")[:1], [end] if last == "ok" else [], "links")
            same(len(world.begins(f"link{number}")), int(last == "ok"))
        same(len(world.trace.where(Published, task="after")), links if last == "ok" else 1)
        if last == "ok":
            # S11: links are published, then the result is stored.
            sent = history.place(world, Published, "link0")
            assert sent < history.place(world, StateStored, "t1", state="SUCCESS"), "stored before its link was sent"
        else:
            # S12: the failure is stored, then errbacks are published, then the hook is told.
            stored, sent = (
                history.place(world, StateStored, "t1", state="FAILURE"),
                history.place(world, Published, "errback"),
            )
            assert stored < sent < history.place(world, HookCalled, "t1", hook="on_failure"), "the order of a failure"
        history.all_settled(world)


@law("S24", setup=draw.setups(), retries=st.lists(st.integers(0, 2), min_size=2, max_size=3), speaks_of=RETRY)
def law_s24_a_chain_goes_on_after_the_last_run_and_keeps_its_root(setup: Setup, retries: list[int]) -> None:
    with World(setup) as world:
        task = world.task()
        names = [f"link{number}" for number in range(len(retries))]
        again = Turn("retry", options=(("countdown", 2),))
        for name, count in zip(names, retries, strict=True):
            world.plan(name, *[again] * count, Turn())
        chain(*(task.si().set(task_id=name) for name in names)).apply_async()
        world.run()
        began = 0.0
        for number, (name, count) in enumerate(zip(names, retries, strict=True)):
            same(world.starts(name), [began + 3.0 * run for run in range(count + 1)], name)
            same({note.seen["root_id"] for note in world.begins(name)}, {"link0"}, "root")
            parents = {note.seen["parent_id"] for note in world.begins(name)}
            # Who has no parent is its own retry's.
            same(parents, {names[number - 1]} if number else {None, *names[: bool(count)]}, "parent")
            began += 3.0 * count + 1.0
        history.all_settled(world)


@law("S24", setup=draw.setups(), retries=st.lists(st.integers(0, 2), min_size=2, max_size=3), examples=25)
def law_s24_the_body_of_a_chord_waits_for_the_last_runs_and_comes_once(setup: Setup, retries: list[int]) -> None:
    with World(setup, backend=REDIS) as world:
        task = world.task()
        again = Turn("retry", options=(("countdown", 2),))
        for number, count in enumerate(retries):
            world.plan(f"part{number}", *[again] * count, Turn())
        header = [task.si().set(task_id=f"part{number}") for number in range(len(retries))]
        chord(header, task.s().set(task_id="body")).apply_async()
        world.run()
        last = max(note.time for number in range(len(retries)) for note in world.begins(f"part{number}")) + 1.0
        same(world.starts("body"), [round(last, 2)], "body")
        same(list(world.begins("body")[0].seen["args"]), [[f"run {count + 1}" for count in retries]], "its argument")
        for number, count in enumerate(retries):
            indices = [note.seen["group_index"] for note in world.begins(f"part{number}")]
            same(indices, [number] * (count + 1), "group_index")
        history.all_settled(world)


@law("S24", setup=draw.setups(workers=1, broker="amqp"), delay=st.sampled_from([20, 60]), speaks_of=RETRY,
     examples=8)  # fmt: skip
def law_s24_a_retry_outlives_a_restart_of_the_broker_as_its_first_message_would(setup: Setup, delay: int) -> None:
    with World(setup) as world:
        world.call(world.task(), Turn("retry", options=(("countdown", delay),)), Turn())
        world.sim.restart_broker(down=2.0, at=6.0)
        world.run()
        same(history.states(world, "t1"), ["RETRY", "SUCCESS"])
        same(world.starts("t1"), [0.0, 1.0 + delay], "starts")
        history.all_settled(world)
