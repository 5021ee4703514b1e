"""Signals: handlers, masks, default actions."""

from __future__ import annotations

import os
import signal

import pytest

from tasksim.errors import UnsupportedError
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.kernel.process import running_thread
from tasksim.unix.system import Unix


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL, signal.SIGHUP])
def test_the_default_action_ends_a_process(unix: Unix, kernel: Kernel, number: int) -> None:
    process = unix.fork("child", lambda: kernel.sleep(10))
    kernel.sleep(1)
    unix.kill(process.pid, number)
    assert os.WTERMSIG(unix.waitpid(process.pid)[1]) == number
    assert kernel.now_ns == SECOND


@pytest.mark.parametrize("number", [0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH])
def test_some_signals_do_nothing_by_default(unix: Unix, kernel: Kernel, number: int) -> None:
    process = unix.fork("child", lambda: kernel.sleep(3))
    kernel.sleep(1)
    unix.kill(process.pid, number)
    assert unix.waitpid(process.pid) == (process.pid, 0)


def test_a_signal_to_nobody_is_an_error(unix: Unix) -> None:
    with pytest.raises(ProcessLookupError):
        unix.kill(4_999_999, signal.SIGTERM)


def test_suspending_a_process_is_refused_with_what_to_do_instead(unix: Unix, kernel: Kernel) -> None:
    process = unix.fork("child", lambda: kernel.sleep(3))
    with pytest.raises(UnsupportedError, match=r"sim\.freeze"):
        unix.kill(process.pid, signal.SIGSTOP)


def test_a_handler_runs_at_that_instant_and_the_sleep_goes_on_to_its_end(unix: Unix, kernel: Kernel) -> None:
    seen: list[tuple[str, int]] = []

    def child() -> None:
        unix.set_handler(signal.SIGUSR1, lambda *_: seen.append(("handler", kernel.now_ns)))
        kernel.sleep(5)
        seen.append(("awake", kernel.now_ns))

    process = unix.fork("child", child)
    kernel.sleep(2)
    unix.kill(process.pid, signal.SIGUSR1)
    kernel.sleep(10)
    assert seen == [("handler", 2 * SECOND), ("awake", 5 * SECOND)]


def test_what_a_handler_raises_ends_the_wait(unix: Unix, kernel: Kernel) -> None:
    seen: list[int] = []

    def stop(*_: object) -> None:
        raise InterruptedError("stop")

    def child() -> None:
        unix.set_handler(signal.SIGALRM, stop)
        try:
            kernel.sleep(50)
        except InterruptedError:
            seen.append(kernel.now_ns)

    process = unix.fork("child", child)
    kernel.sleep(2)
    unix.kill(process.pid, signal.SIGALRM)
    kernel.sleep(1)
    assert seen == [2 * SECOND]


def test_a_handler_runs_in_the_main_thread_though_another_one_sent_the_signal(unix: Unix, kernel: Kernel) -> None:
    seen: list[bool] = []

    def child() -> None:
        main = running_thread()
        unix.set_handler(signal.SIGUSR1, lambda *_: seen.append(running_thread() is main))
        kernel.spawn(process, lambda: unix.kill(process.pid, signal.SIGUSR1))
        kernel.sleep(5)

    process = unix.fork("child", child)
    kernel.sleep(1)
    assert seen == [True]


def test_a_signal_to_oneself_is_handled_before_kill_returns(unix: Unix, kernel: Kernel) -> None:
    seen: list[str] = []

    def child() -> None:
        unix.set_handler(signal.SIGUSR1, lambda *_: seen.append("handler"))
        unix.kill(process.pid, signal.SIGUSR1)
        seen.append("after")

    process = unix.fork("child", child)
    kernel.sleep(1)
    assert seen == ["handler", "after"]


def test_a_blocked_signal_waits_until_it_is_let_through_and_two_of_a_kind_are_one(unix: Unix, kernel: Kernel) -> None:
    seen: list[int] = []

    def child() -> None:
        unix.set_handler(signal.SIGUSR1, lambda *_: seen.append(kernel.now_ns))
        assert unix.set_mask(signal.SIG_BLOCK, [signal.SIGUSR1]) == set()
        kernel.sleep(5)
        assert unix.set_mask(signal.SIG_UNBLOCK, [signal.SIGUSR1]) == {signal.SIGUSR1}

    process = unix.fork("child", child)
    kernel.sleep(1)
    unix.kill(process.pid, signal.SIGUSR1)
    unix.kill(process.pid, signal.SIGUSR1)
    kernel.sleep(10)
    assert seen == [5 * SECOND]
    assert process.own.get("error") is None


def test_a_blocked_signal_without_a_handler_ends_the_process_when_it_is_let_through(unix: Unix, kernel: Kernel) -> None:
    def child() -> None:
        unix.set_mask(signal.SIG_SETMASK, [signal.SIGTERM])
        kernel.sleep(5)
        unix.set_mask(signal.SIG_SETMASK, [])
        kernel.sleep(5)

    process = unix.fork("child", child)
    kernel.sleep(1)
    unix.kill(process.pid, signal.SIGTERM)
    assert os.WTERMSIG(unix.waitpid(process.pid)[1]) == signal.SIGTERM
    assert kernel.now_ns == 5 * SECOND


def test_pending_signals_are_handled_lowest_number_first(unix: Unix, kernel: Kernel) -> None:
    seen: list[int] = []

    def child() -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            unix.set_handler(number, lambda number, _: seen.append(number))
        kernel.sleep(5)

    process = unix.fork("child", child)
    kernel.sleep(1)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        unix.kill(process.pid, number)
    kernel.sleep(1)
    assert seen == sorted([signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])


def test_an_ignored_signal_is_lost_but_sigkill_cannot_be_ignored(unix: Unix, kernel: Kernel) -> None:
    def child() -> None:
        unix.set_handler(signal.SIGTERM, signal.SIG_IGN)
        unix.set_mask(signal.SIG_BLOCK, [signal.SIGKILL])
        kernel.sleep(10)

    process = unix.fork("child", child)
    kernel.sleep(1)
    unix.kill(process.pid, signal.SIGTERM)
    kernel.sleep(1)
    assert not process.dead
    unix.kill(process.pid, signal.SIGKILL)
    assert process.dead


def test_a_fork_has_its_parents_handlers_a_new_program_the_defaults(unix: Unix, kernel: Kernel) -> None:
    seen: list[object] = []
    unix.set_handler(signal.SIGUSR1, signal.SIG_IGN)
    unix.fork("child", lambda: seen.append(unix.get_handler(signal.SIGUSR1)))
    unix.exec("program", lambda: seen.append(unix.get_handler(signal.SIGUSR1)))
    kernel.sleep(1)
    assert seen == [signal.SIG_IGN, signal.SIG_DFL]


def test_no_finally_runs_when_a_signal_ends_a_process(unix: Unix, kernel: Kernel) -> None:
    seen: list[str] = []

    def child() -> None:
        try:
            kernel.sleep(10)
        finally:
            seen.append("finally")

    process = unix.fork("child", child)
    kernel.sleep(1)
    unix.kill(process.pid, signal.SIGTERM)
    kernel.sleep(20)
    assert seen == []
