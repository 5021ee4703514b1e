"""S1 to S5, S11 to S14: one call without a fault, word by word."""

from __future__ import annotations

from dataclasses import replace

from celery import chain
from hypothesis import strategies as st

from tasksim.events import Acked, Published
from tests.laws import draw, history, lifecycle
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.lifecycle import Call
from tests.laws.worlds import Setup, Turn, World

alone = draw.setups(workers=1)
early, late = draw.setups(workers=1, late=False), draw.setups(workers=1, late=True)
lengths = st.sampled_from([0.5, 1.0, 3.0])


def calls(*last: str, before: tuple[str, ...] = ("retry",), most: int = 3, least: int = 0) -> st.SearchStrategy[Call]:
    ends = st.tuples(st.lists(st.sampled_from(before), min_size=least, max_size=most), st.sampled_from(last)).map(
        lambda drawn: (*drawn[0], drawn[1])
    )
    return st.builds(
        Call, ends=ends, seconds=lengths, delay=st.sampled_from([0, 5, 30]), track=st.booleans(),
        ignore_result=st.booleans(), ack_failures=st.booleans(),
    )  # fmt: skip


def live(setup: Setup, call: Call) -> World:
    """The call, alone in its world; its history must be as expected."""
    with World(setup) as world:
        world.call(world.task(**call.options()), *call.turns)
        world.run()
        lifecycle.holds(world, call)
        if call.seconds:
            lifecycle.acked_when(world, setup.late)
    return world


@law("S1", setup=early, call=calls("ok", "raise", "retry"))
def law_s1_an_early_ack_comes_when_a_child_has_accepted_and_before_the_body_ends(setup: Setup, call: Call) -> None:
    live(setup, replace(call, ends=tuple("ok" if end == "retry" else end for end in call.ends[-1:])))


@law("S2", setup=late, call=calls("ok", most=0))
def law_s2_a_late_ack_comes_after_result_hooks_and_signals(setup: Setup, call: Call) -> None:
    live(setup, call)


@law("S3", setup=late, call=calls("ok", "ignore", before=("retry",), least=0), speaks_of=("retry",))
def law_s3_retry_and_ignore_ack_a_late_message_after_the_retry_is_published(setup: Setup, call: Call) -> None:
    with World(setup) as world:
        world.call(world.task(**call.options()), *call.turns)
        world.run()
        lifecycle.holds(world, call)
        for number in range(len(call.ends) - 1):
            sent = history.place(world, Published, "t1", number + 2)
            assert sent < history.place(world, Acked, "t1", number + 1)


@law("S4", setup=late, call=calls("raise", "other"), speaks_of=("retry",))
def law_s4_a_late_failure_is_acked_or_rejected_without_requeue_as_told(setup: Setup, call: Call) -> None:
    live(setup, call)


flags = st.sampled_from([None, None, True, False])


@law("S4", setup=late, failures=flags, timeouts=flags, both=flags, by_setting=st.booleans(), over=st.booleans(),
     since="5.7", examples=36)  # fmt: skip
def law_s4_what_is_said_of_failures_or_of_time_limits_counts_before_what_is_said_of_both(
    setup: Setup, failures: bool | None, timeouts: bool | None, both: bool | None, by_setting: bool, over: bool
) -> None:
    told = {"acks_on_failure": failures, "acks_on_timeout": timeouts, "acks_on_failure_or_timeout": both}
    told = {name: value for name, value in told.items() if value is not None}
    settings = {f"task_{name}": value for name, value in told.items()} if by_setting else {}
    with World(setup, **settings) as world:
        task = world.task(time_limit=2, **({} if by_setting else told))
        world.call(task, Turn("ok", 9.0) if over else Turn("raise"), Turn())
        world.run()
        own = timeouts if over else failures
        acks = own if own is not None else both if both is not None else True
        words = [word for word in history.mains(world, "t1") if word in lifecycle.SETTLES]
        same(words, ["ack"] if acks else ["requeue", "ack"] if over else ["reject"], "settled")
        history.all_settled(world)


@law("S5", setup=alone, call=calls("reject", before=("retry",)), since="5.7")
def law_s5_reject_without_requeue_fails_for_good(setup: Setup, call: Call) -> None:
    world = live(setup, call)
    same(history.states(world, "t1")[-1:], [] if call.ignore_result else ["FAILURE"])


@law("S5", setup=late, call=calls("ok", "raise", before=("requeue",), most=3, least=1), speaks_of=("redelivery",))
def law_s5_reject_with_requeue_brings_a_late_message_back(setup: Setup, call: Call) -> None:
    live(setup, call)


@law("S5", setup=early, call=calls("requeue", before=("retry",)))
def law_s5_reject_with_requeue_does_nothing_after_an_early_ack(setup: Setup, call: Call) -> None:
    world = live(setup, call)
    assert not {"SUCCESS", "FAILURE"} & set(history.states(world, "t1"))


@law("S11", setup=alone, call=calls("ok", most=1))
def law_s11_the_order_of_a_success(setup: Setup, call: Call) -> None:
    live(setup, call)


@law("S12", setup=alone, call=calls("raise", "other", most=1))
def law_s12_the_order_of_a_failure(setup: Setup, call: Call) -> None:
    live(setup, call)


@law("S13", setup=alone, call=calls("ok", "raise", least=1), speaks_of=("retry",))
def law_s13_the_order_of_a_retry(setup: Setup, call: Call) -> None:
    world = live(setup, call)
    retries = call.ends.count("retry")
    same([name for name, _, _ in world.told].count("on_retry"), retries)
    same([detail for name, _, detail in world.told if name == "on_retry"], ["NoneType"] * retries)


@law("S14", setup=alone, end=st.sampled_from(["ignore", "reject"]), retries=st.integers(0, 1), examples=15)
def law_s14_what_is_ignored_or_rejected_has_no_successors(setup: Setup, end: str, retries: int) -> None:
    with World(setup) as world:
        again = Turn("retry", options=(("countdown", 2),))
        after = world.task("after")
        links = {name: after.si().set(task_id=name) for name in ("next", "link", "errback")}
        first = world.task().si().set(task_id=world.plan("t1", *[again] * retries, Turn(end)), link=[links["link"]])
        # A rejection is a failure from 5.7 on (S5), which calls errbacks.
        first.set(link_error=[links["errback"]] if end == "ignore" else [])
        chain(first, links["next"]).apply_async()
        world.run()
        same([note.task_id for _, note in world.bodies], ["t1", "t1"] * (1 + retries), "who ran")
        history.all_settled(world)


@law("S14", setup=alone, call=calls("ignore"))
def law_s14_ignore_stores_nothing_and_runs_no_hook(setup: Setup, call: Call) -> None:
    live(setup, call)
