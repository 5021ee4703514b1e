"""S48 to S56: chains, chords, errbacks, and what is stored."""

from __future__ import annotations

import math
import tempfile
import warnings
from typing import Any

from celery import chain, chord, group
from celery.backends.base import Backend
from hypothesis import strategies as st

from tasksim.events import Failed, Started, StateStored, Succeeded
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import REDIS, Setup, Turn, World

setups = draw.setups()
SAFE_ERRBACKS = hasattr(Backend, "_errback_arity_greater")
AGAIN = Turn("retry", options=(("countdown", 2),))


@law("S48", setup=setups, length=st.integers(2, 4), fails=st.integers(0, 3), examples=25)
def law_s48_a_failure_is_stored_on_all_later_links_with_its_exception(setup: Setup, length: int, fails: int) -> None:
    fails = min(fails, length - 1)
    with World(setup, backend=REDIS) as world:
        task = world.task()
        world.plan(f"link{fails}", Turn("raise"))
        chain(*(task.si().set(task_id=f"link{number}") for number in range(length))).apply_async()
        world.run()
        for number in range(length):
            result = world.result(f"link{number}")
            same(result.state, "SUCCESS" if number < fails else "FAILURE", f"link {number}")
            same(repr(result.result), "'run 1'" if number < fails else "Trouble('run 1')", f"link {number}")
        same(len(world.bodies), 2 * (fails + 1), "begins and ends")
        history.all_settled(world)


parts = st.lists(st.sampled_from(["ok", "ok", "raise", "retry", "lost"]), min_size=1, max_size=4)


@law("S49", setup=setups, ends=parts, examples=30)
def law_s49_a_chord_counts_each_part_once_and_its_body_comes_with_all_or_fails(setup: Setup, ends: list[str]) -> None:
    with World(setup, backend=REDIS) as world:
        task, after = world.task(), world.task("after")
        for number, end in enumerate(ends):
            kinds = {"retry": [AGAIN, Turn()], "lost": [Turn("exit")]}
            world.plan(f"part{number}", *kinds.get(end, [Turn(end)]))
        body = task.s().set(task_id="body")
        body.link_error(after.si().set(task_id="errback"))
        chord([task.si().set(task_id=f"part{number}") for number in range(len(ends))], body).apply_async()
        world.run()
        whole = not {"raise", "lost"} & set(ends)
        same(len(world.begins("body")), int(whole), "runs of the body")
        if whole:
            values = ["run 2" if end == "retry" else "run 1" for end in ends]
            same(list(world.begins("body")[0].seen["args"]), [values], "argument of the body")
        same(world.result("body").state, "SUCCESS" if whole else "FAILURE")
        same(len(world.begins("errback")), int(not whole), "errbacks")
        ended = [note.time for _, note in world.bodies if note.what == "end" and note.task_id.startswith("part")]
        first = world.begins("body")[0].time if whole else 0.0
        assert not whole or first >= max(ended), "the body began before the last part had ended"
        history.all_settled(world)


@law("S49", setup=draw.setups(prefetch=4), parts=st.integers(1, 2), doomed=st.integers(1, 2), expires=st.booleans(),
     examples=20)  # fmt: skip
def law_s49_a_part_that_is_revoked_or_expires_fails_the_chord(
    setup: Setup, parts: int, doomed: int, expires: bool
) -> None:
    # S19: a chord part counts as failed.
    with World(setup, backend=REDIS) as world:
        task, after = world.task(), world.task("after")
        later = {"countdown": 30, **({"expires": 20} if expires else {})}
        header = [task.si().set(task_id=f"part{number}") for number in range(parts)]
        header += [task.si().set(task_id=f"doomed{number}", **later) for number in range(doomed)]
        body = task.s().set(task_id="body")
        body.link_error(after.si().set(task_id="errback"))
        chord(header, body).apply_async()
        world.sim.run(until=2.0)
        if not expires:
            world.app.control.revoke([f"doomed{number}" for number in range(doomed)])
        world.run()
        same((len(world.begins("body")), len(world.begins("errback"))), (0, 1), "runs of the body and its errback")
        same({world.result(f"doomed{number}").state for number in range(doomed)}, {"REVOKED"})
        same(world.result("body").state, "FAILURE")
        history.all_settled(world)


@law("S52", setup=setups, ends=st.lists(st.sampled_from(["ok", "raise"]), min_size=1, max_size=3),
     headers=st.booleans(), examples=20)  # fmt: skip
def law_s52_an_errback_of_a_chord_is_its_bodys_and_its_headers_only_if_told(
    setup: Setup, ends: list[str], headers: bool
) -> None:
    with World(setup, backend=REDIS, task_allow_error_cb_on_chord_header=headers) as world:
        task, after = world.task(), world.task("after")
        for number, end in enumerate(ends):
            world.plan(f"part{number}", Turn(end))
        whole = chord([task.si().set(task_id=f"part{number}") for number in range(len(ends))], task.s())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole.link_error(after.si())
        whole.apply_async()
        world.run()
        failed = ends.count("raise")
        same(len(world.trace.where("Published", task="after")), (failed > 0) + failed * headers, "errbacks")
        history.all_settled(world)


@law("S50", setup=setups, size=st.integers(0, 1), ignored=st.booleans(), examples=20)
def law_s50_a_chord_of_one_or_of_none_runs_its_body_with_a_list(setup: Setup, size: int, ignored: bool) -> None:
    with World(setup, backend=REDIS) as world:
        task = world.task()
        part = world.task("part", ignore_result=ignored)
        header = group([part.si().set(task_id="part")][:size])
        chord(header, task.s().set(task_id="body")).apply_async()
        world.run()
        same([list(note.seen["args"]) for note in world.begins("body")], [[["run 1"][:size]]], "argument of the body")
        same(world.starts("body"), [float(size)])
        history.all_settled(world)


@law("S51", setup=draw.setups(slots=4), ends=st.lists(st.sampled_from(["ok", "ok", "retry", "raise"]), min_size=1,
     max_size=3), every=st.sampled_from([None, 0.4, 3.0]), seconds=st.sampled_from([0.25, 2.75, 9.6]),
     examples=20)  # fmt: skip
def law_s51_a_chord_is_polled_each_interval_where_its_results_cannot_count(
    setup: Setup, ends: list[str], every: float | None, seconds: float
) -> None:
    settings: dict[str, Any] = {} if every is None else {"result_chord_retry_interval": every}
    with tempfile.TemporaryDirectory() as folder, World(setup, backend=f"file://{folder}", **settings) as world:
        task = world.task()
        for number, end in enumerate(ends):
            again = [Turn("retry", seconds, (("countdown", 2),))] * (end == "retry")
            world.plan(f"part{number}", *again, Turn("raise" if end == "raise" else "ok", seconds))
        whole = chord([task.si().set(task_id=f"part{number}") for number in range(len(ends))])
        whole(task.s().set(task_id="body"))
        world.run()
        last = 2 * seconds + 2 if "retry" in ends else seconds
        interval = every or 1.0
        looks = [event.time for event in world.trace.where(Started, task="celery.chord_unlock")]
        same(len(looks), 1 + max(0, math.ceil((last - 1.0) / interval)), "looks")
        for number, look in enumerate(looks):
            # The first comes after a second, whatever is set.
            assert abs(look - 1.0 - number * interval) < 0.05, f"look {number} at {look}, every {interval} s"
        fails = "raise" in ends
        assert [round(note.time - looks[-1], 1) for note in world.begins("body")] == [0.0] * (not fails)
        same(world.result("body").state, "FAILURE" if fails else "SUCCESS")
        if not fails:
            values = ["run 2" if end == "retry" else "run 1" for end in ends]
            same(list(world.begins("body")[0].seen["args"]), [values], "argument of the body")
        history.all_settled(world)


@law("S51", setup=setups, examples=5)
def law_s51_results_by_rpc_have_no_chords(setup: Setup) -> None:
    with World(setup, backend="rpc://") as world:
        task = world.task()
        error = history.raised_by(lambda: chord([task.si(), task.si()])(task.s()))
        assert isinstance(error, NotImplementedError), f"raised {error!r}"
        world.run()
        same(len(world.bodies), 0, "runs")


#: Before 5.7 the error of an errback ends more than itself.
kinds = st.sampled_from(["old", "bound", "new", *(["failing", "two"] if SAFE_ERRBACKS else [])])


@law(
    "S53",
    setup=setups,
    kind=kinds,
    retries=st.integers(0, 2),
    linked=st.booleans(),
    examples=30,
)
def law_s53_an_errback_of_three_arguments_is_called_in_process_and_any_other_sent(
    setup: Setup, kind: str, retries: int, linked: bool
) -> None:
    called: list[tuple[str, str, str]] = []
    with World(setup) as world:

        def new(request: Any, exc: BaseException, traceback: Any) -> None:
            called.append((request.id, repr(exc), world.sim.current_process.name.partition("/")[1]))
            if kind == "failing":
                raise ValueError

        def old(task_id: str) -> None:
            called.append((task_id, "", "/"))

        def bound(self: Any, task_id: str) -> None:
            called.append((task_id, "", "/"))

        def two(task_id: str, other: object) -> None:
            called.append((task_id, "", "/"))

        function = {"old": old, "bound": bound, "two": two}.get(kind, new)
        errback = world.app.task(name="errback", shared=False, bind=kind == "bound")(function)
        task = world.task()
        world.plan("t1", *[AGAIN] * retries, Turn("raise"))
        last = task.si().set(task_id="t1", link_error=[errback.s()])
        chain(*([task.si().set(task_id="before")] if linked else []), last).apply_async()
        world.run()
        inside = kind in ("new", "failing", "two")
        # One of two arguments gets three as well, and its error is only logged.
        expected = [("t1", f"Trouble('run {retries + 1}')" if inside else "", "/")]
        same(called, [] if kind == "two" else expected, "calls")
        same([name for name, told, _ in world.told if told == "t1"][-2:], ["on_failure", "after_return"], "hooks")
        same(len(world.trace.where("Published", task="errback")), int(not inside), "messages")
        same(history.states(world, "t1")[-1], "FAILURE")
        history.all_settled(world)


@law("S54", setup=setups, position=st.integers(0, 1), retries=st.integers(0, 1), examples=20)
def law_s54_a_replacement_stores_its_result_under_the_replaced_id(setup: Setup, position: int, retries: int) -> None:
    with World(setup, backend=REDIS) as world:
        task = world.task()

        def replacing(self: Any) -> Any:
            return self.replace(task.si())

        replaced = world.app.task(name="replacing", shared=False, bind=True)(replacing)
        world.plan("one", *[AGAIN] * retries, Turn())
        links = [task.si().set(task_id="zero"), replaced.si().set(task_id="one"), task.s().set(task_id="two")]
        chain(*links[1 - position :]).apply_async()
        world.run()
        same(world.result("one").result, f"run {retries + 1}")
        same(len(world.begins("one")), retries + 1)
        same([list(note.seen["args"]) for note in world.begins("two")], [[f"run {retries + 1}"]])
        history.all_settled(world)


@law("S55", setup=setups, end=st.sampled_from(["ok", "raise", "ignore"]),
     ignore=st.sampled_from([None, "task", "call"]), store_errors=st.booleans(), waits=st.booleans(),
     backend=st.sampled_from(["cache+memory://", REDIS]), since="5.6")  # fmt: skip
def law_s55_what_is_stored_is_what_the_caller_gets(
    setup: Setup, end: str, ignore: str | None, store_errors: bool, waits: bool, backend: str
) -> None:
    with World(setup, backend=backend) as world:
        task = world.task(ignore_result=ignore == "task", store_errors_even_if_ignored=store_errors)
        given: dict[str, Any] = {"ignore_result": True} if ignore == "call" else {}
        result = world.call(task, Turn(end), **given)
        same(world.result("t1").state, "PENDING", "before")
        same(world.result("nobody").state, "PENDING", "of an unknown id")
        kept = end != "ignore" and (ignore is None or (end == "raise" and store_errors))
        if waits and kept and ignore is None:
            error = history.raised_by(lambda: same(result.get(timeout=30), "run 1"))
            same(repr(error), "Trouble('run 1')" if end == "raise" else "None", "raised")
        world.run()
        stored = {"ok": "SUCCESS", "raise": "FAILURE", "ignore": "PENDING"}[end] if kept else "PENDING"
        same(world.result("t1").state, stored)
        same(history.states(world, "t1"), [stored] if kept else [])
        same(len(world.trace.where(Failed)), int(end == "raise"))
        history.all_settled(world)


@law("S55", setup=setups, expires=st.sampled_from([20, 50]), end=st.sampled_from(["ok", "raise"]), examples=10)
def law_s55_a_result_lives_as_long_as_told(setup: Setup, expires: int, end: str) -> None:
    with World(setup, backend=REDIS, result_expires=expires) as world:
        world.call(world.task(), Turn(end))
        stored = "SUCCESS" if end == "ok" else "FAILURE"
        for now, state in ((1.5, stored), (expires + 0.5, stored), (expires + 1.5, "PENDING")):
            world.sim.run(until=now)
            same(world.result("t1").state, state, f"at {now}")


@law("S55", setup=draw.setups(broker="amqp", late=True, workers=1), examples=15,
     backend=st.sampled_from(["cache+memory://", REDIS]), end=st.sampled_from(["raise", "ok"]))  # fmt: skip
def law_s55_a_stored_success_is_never_overwritten(setup: Setup, backend: str, end: str) -> None:
    with World(setup, backend=backend) as world:
        world.call(world.task(), Turn("ok"), Turn(end))
        world.sim.kill(worker="w1", when=world.sim.on("Finished"))
        world.sim.start_worker("w2", at=10.0)
        world.run()
        same(world.starts("t1")[0], 0.0)
        same(len(world.begins("t1")), 2, "runs")
        same((world.result("t1").state, world.result("t1").result), ("SUCCESS", "run 1"))
        history.all_settled(world)


@law("S56", setup=draw.setups(broker="amqp", workers=1), on=st.booleans(), stored=st.booleans(), speaks_of=("kill",),
     links=st.booleans(), fails=st.sampled_from([False, False, True]), examples=30)  # fmt: skip
def law_s56_a_redelivered_success_is_skipped_if_deduplication_is_on(
    setup: Setup, on: bool, stored: bool, links: bool, fails: bool
) -> None:
    with World(setup, backend=REDIS, worker_deduplicate_successful_tasks=on) as world:
        after = world.task("after").si().set(task_id="link") if links else None
        world.call(world.task(), Turn("raise" if fails else "ok"), Turn(), link=after)
        if stored:
            world.sim.kill(worker="w1", when=world.sim.on(Failed if fails else Succeeded))
        else:
            world.sim.kill(worker="w1", at=0.5)
        world.sim.start_worker("w2", at=10.0)
        world.run()
        skipped = on and stored and not fails and setup.late
        again = setup.late and not skipped
        same(len(world.begins("t1")), 1 + again, "runs")
        same(
            len(world.trace.where(StateStored, task_id="t1", state="SUCCESS")),
            int(stored and not fails) + again,
            "successes",
        )
        if skipped:
            same(history.mains(world, "t1")[-2:], ["accepted", "ack"], "w2")
        # A first delivery runs, whatever is stored.
        world.call(world.app.tasks["act"], Turn(), task_id="t1")
        world.run()
        same(len(world.begins("t1")), 2 + again, "runs after another call")
        history.all_settled(world)
