"""The loop: parking, waking, sleeping, and worlds that cannot go on."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasksim.errors import NothingLeftToDo, Spinning, WorldStopped
from tasksim.kernel.loop import FREE_POLLS, SECOND, Kernel
from tasksim.kernel.process import Process, running_thread

MakeKernel = Callable[..., Kernel]


def start(kernel: Kernel, name: str, function: Callable[[], object]) -> Process:
    process = Process(kernel.new_pid(), name)
    kernel.cells.exec(process)
    kernel.spawn(process, function)
    return process


def test_a_sleep_takes_exactly_its_time(kernel: Kernel) -> None:
    kernel.sleep(1.5)
    assert kernel.now_ns == 1_500_000_000


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False), st.integers(min_value=0, max_value=10**9))
def test_time_outs_are_whole_microseconds_and_never_nothing_unless_zero(seconds: float, now_us: int) -> None:
    kernel = Kernel(Process(1, "client"))
    kernel.agenda.advance(now_us * 1000)
    due_ns = kernel.due_ns(seconds)
    assert due_ns % 1000 == 0
    assert (due_ns > kernel.now_ns) == (seconds > 0)
    assert abs(due_ns - kernel.now_ns - seconds * SECOND) <= 1000


def test_what_was_computed_from_the_time_of_day_is_due_at_one_instant(kernel: Kernel) -> None:
    epoch = 1_767_268_800.0
    first, second = (epoch + 0.1 + 0.2) - epoch, (epoch + 0.3) - epoch
    assert first != 0.3
    assert kernel.due_ns(first) == kernel.due_ns(second) == kernel.due_ns(0.3)


def test_a_deadline_ends_a_wait_and_says_so(kernel: Kernel) -> None:
    assert kernel.park(5 * SECOND, "nothing") is False
    assert kernel.now_ns == 5 * SECOND


def test_a_wake_ends_a_wait_at_that_instant_and_the_deadline_is_forgotten(kernel: Kernel) -> None:
    me = running_thread()
    kernel.at(2 * SECOND, kernel.wake, me)
    assert kernel.park(5 * SECOND) is True
    assert kernel.now_ns == 2 * SECOND
    kernel.sleep(10)
    assert kernel.now_ns == 12 * SECOND


def test_waking_twice_is_waking_once(kernel: Kernel) -> None:
    me = running_thread()

    def wake_twice() -> None:
        kernel.wake(me)
        kernel.wake(me)

    kernel.at(SECOND, wake_twice)
    kernel.park(9 * SECOND)
    kernel.sleep(3)
    assert kernel.now_ns == 4 * SECOND


def test_threads_of_one_instant_run_in_the_order_in_which_they_were_made(kernel: Kernel) -> None:
    ran: list[str] = []
    for name in "abc":
        start(kernel, name, lambda name=name: ran.append(name))
    kernel.sleep(0)
    assert ran == ["a", "b", "c"]


def test_other_seeds_choose_another_order_and_the_same_seed_the_same(make_kernel: MakeKernel) -> None:
    def order(seed: int) -> tuple[str, ...]:
        kernel, ran = make_kernel(seed=seed), []
        for name in "abcd":
            start(kernel, name, lambda name=name: ran.append(name))
        kernel.sleep(1)
        return tuple(ran)

    assert len({order(seed) for seed in range(12)}) > 4
    assert order(5) == order(5)


def test_a_deadlock_names_who_waits_for_what(kernel: Kernel) -> None:
    start(kernel, "w1", lambda: kernel.park(None, "a pipe to be read from"))
    with pytest.raises(NothingLeftToDo) as caught:
        kernel.park(None, "a condition")
    text = str(caught.value)
    assert "w1 waits for a pipe to be read from" in text
    assert "client waits for a condition" in text


def test_after_a_deadlock_was_told_the_world_can_go_on(kernel: Kernel) -> None:
    with pytest.raises(NothingLeftToDo):
        kernel.park(None, "nothing")
    kernel.sleep(1)
    assert kernel.now_ns == SECOND


def test_a_process_that_spins_is_named(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(max_steps=500)

    def spin() -> None:
        while True:
            kernel.sleep(0)

    start(kernel, "w7", spin)
    with pytest.raises(Spinning, match="w7"):
        kernel.sleep(1)


def test_an_entry_that_makes_the_next_one_for_ever_is_found_though_nobody_parks(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(max_steps=500)

    def again() -> None:
        kernel.soon(again)

    again()
    with pytest.raises(Spinning):
        kernel.sleep(1)


def test_many_steps_spread_over_many_seconds_are_no_spinning(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(max_steps=100)
    for _ in range(300):
        kernel.sleep(0.1)
    assert kernel.now_ns == 30 * SECOND


def test_looking_again_and_again_takes_time_a_few_looks_take_none(kernel: Kernel) -> None:
    for _ in range(FREE_POLLS):
        kernel.poll_point()
    assert kernel.now_ns == 0
    looks = 0
    while kernel.now_ns < SECOND:
        kernel.poll_point()
        looks += 1
    assert looks == 1000


def test_the_first_wait_calls_begin_once_and_counts_from_its_end(kernel: Kernel) -> None:
    calls = []

    def begin() -> None:
        calls.append(1)
        kernel.sleep(2)

    kernel.begin = begin
    kernel.sleep(5)
    assert calls == [1]
    assert kernel.now_ns == 7 * SECOND


def test_an_error_of_a_thread_comes_out_where_the_test_waits(kernel: Kernel) -> None:
    def fail() -> None:
        raise ValueError("from inside")

    start(kernel, "w1", fail)
    with pytest.raises(ValueError, match="from inside"):
        kernel.sleep(1)
    kernel.sleep(1)


def test_an_interrupt_inside_comes_out_where_the_test_waits_and_the_world_can_go_on(kernel: Kernel) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    start(kernel, "w1", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kernel.sleep(1)
    kernel.sleep(1)


def test_before_advance_may_add_to_the_instant(kernel: Kernel) -> None:
    seen: list[int] = []

    def before(_: int | None) -> bool:
        if len(seen) < 3:
            kernel.soon(seen.append, kernel.now_ns)
            return True
        return False

    kernel.before_advance = before
    kernel.sleep(1)
    assert seen == [0, 0, 0]


def test_an_entry_may_run_a_function_that_parks_in_a_process(kernel: Kernel) -> None:
    seen: list[tuple[str, int]] = []

    def act() -> None:
        kernel.sleep(1)
        seen.append((kernel.current.name, kernel.now_ns))

    kernel.at(SECOND, kernel.run_in, kernel.driver, act)
    kernel.sleep(5)
    assert seen == [("client", 2 * SECOND)]
    assert kernel.driver.threads == []


def test_nothing_can_be_waited_for_when_the_world_is_over(kernel: Kernel) -> None:
    kernel.close()
    with pytest.raises(WorldStopped, match="over"):
        kernel.sleep(1)


def test_a_thread_has_the_context_of_whoever_made_it(kernel: Kernel) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("of the test")
    seen: list[str] = []

    def look() -> None:
        seen.append(variable.get())
        variable.set("of the thread")

    start(kernel, "w1", look)
    kernel.sleep(1)
    assert seen == ["of the test"]
    assert variable.get() == "of the test"


def test_what_the_interpreter_keeps_for_a_thread_is_each_simulated_threads_own(kernel: Kernel) -> None:
    kernel.thread_state = (asyncio._get_running_loop, asyncio._set_running_loop)
    seen: list[object] = []
    start(kernel, "w1", lambda: seen.append(asyncio._get_running_loop()))

    async def wait() -> object:
        kernel.sleep(1)
        return asyncio._get_running_loop()

    assert asyncio.run(wait()) is not None
    assert seen == [None]
