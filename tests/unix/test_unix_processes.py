"""fork, exit and wait."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable

import pytest

from tasksim.kernel.loop import SECOND, Kernel
from tasksim.unix.system import LATE_STATUS_NS, Unix

MakeUnix = Callable[..., Unix]


def raises(exc: BaseException) -> object:
    raise exc


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda: None, 0),
        (lambda: 3, 3),
        (lambda: sys.exit(), 0),
        (lambda: sys.exit(7), 7),
        (lambda: sys.exit("a message"), 1),
        (lambda: sys.exit(256 + 5), 5),
        (lambda: raises(ValueError("wrong")), 1),
        (lambda: raises(BaseException("wrong")), 1),
    ],
)
def test_the_exit_code_says_how_a_process_ended(unix: Unix, end: Callable[[], object], code: int) -> None:
    process = unix.fork("child", end)
    pid, status = unix.waitpid(process.pid)
    assert pid == process.pid
    assert os.waitstatus_to_exitcode(status) == code


def test_the_exception_that_ended_a_process_is_kept(unix: Unix, kernel: Kernel) -> None:
    process = unix.fork("child", lambda: raises(ValueError("wrong")))
    kernel.sleep(1)
    assert repr(process.own["error"]) == "ValueError('wrong')"


def test_exit_from_deep_within_ends_at_once_without_a_finally(unix: Unix) -> None:
    seen: list[str] = []

    def child() -> None:
        try:
            unix.exit(process, 9 << 8)
        finally:
            seen.append("finally")

    process = unix.fork("child", child)
    assert os.waitstatus_to_exitcode(unix.waitpid(process.pid)[1]) == 9
    assert seen == []


def test_waiting_takes_until_the_end_and_then_there_is_nothing_to_wait_for(unix: Unix, kernel: Kernel) -> None:
    process = unix.fork("child", lambda: kernel.sleep(4))
    assert unix.waitpid(process.pid, os.WNOHANG) == (0, 0)
    unix.waitpid(process.pid)
    assert kernel.now_ns == 4 * SECOND
    with pytest.raises(ChildProcessError) as caught:
        unix.waitpid(process.pid)
    assert caught.value.errno == errno.ECHILD


def test_only_a_parent_can_wait_for_a_child(unix: Unix, kernel: Kernel) -> None:
    process = unix.fork("child", lambda: kernel.sleep(4))
    seen: list[str] = []

    def other() -> None:
        try:
            unix.waitpid(process.pid)
        except ChildProcessError:
            seen.append("refused")

    unix.fork("other", other)
    kernel.sleep(1)
    assert seen == ["refused"]


def test_a_zombie_can_be_signalled_until_it_is_waited_for(unix: Unix, kernel: Kernel) -> None:
    def parent() -> None:
        child = unix.fork("child", lambda: None)
        kernel.sleep(1)
        unix.kill(child.pid, 0)
        unix.kill(child.pid, signal.SIGTERM)
        unix.waitpid(child.pid)
        with pytest.raises(ProcessLookupError):
            unix.kill(child.pid, 0)

    process = unix.exec("parent", parent)
    kernel.sleep(2)
    assert "error" not in process.own
    assert process.dead


def test_a_dead_parents_zombies_are_gone_with_it(unix: Unix, kernel: Kernel) -> None:
    def parent() -> None:
        unix.fork("child", lambda: None)
        kernel.sleep(1)

    unix.exec("parent", parent)
    kernel.sleep(5)
    assert unix.processes == {}


def test_a_program_that_has_ended_is_not_found_any_more(unix: Unix, kernel: Kernel) -> None:
    process = unix.exec("w1", lambda: None)
    kernel.sleep(1)
    with pytest.raises(ProcessLookupError):
        unix.kill(process.pid, 0)


def test_children_outlive_their_parent_unless_they_asked_to_die_with_it(unix: Unix, kernel: Kernel) -> None:
    seen: list[str] = []

    def child(name: str) -> None:
        kernel.sleep(10)
        seen.append(name)

    def parent() -> None:
        unix.fork("stays", lambda: child("stays"))
        unix.fork("goes", lambda: child("goes")).dies_with_parent = True
        kernel.sleep(100)

    process = unix.exec("parent", parent)
    kernel.sleep(1)
    unix.kill(process.pid, signal.SIGKILL)
    kernel.sleep(20)
    assert seen == ["stays"]
    assert unix.processes == {}


def test_kill_tree_ends_a_process_and_all_that_descend_from_it(unix: Unix, kernel: Kernel) -> None:
    seen: list[str] = []

    def grandchild() -> None:
        kernel.sleep(10)
        seen.append("grandchild")

    def child() -> None:
        unix.fork("grandchild", grandchild)
        kernel.sleep(10)
        seen.append("child")

    def parent() -> None:
        unix.fork("child", child)
        kernel.sleep(10)
        seen.append("parent")

    process = unix.exec("parent", parent)
    kernel.sleep(1)
    assert [one.name for one in unix.tree(process)] == ["parent", "child", "grandchild"]
    unix.kill_tree(process)
    kernel.sleep(20)
    assert seen == []
    assert process.status == signal.SIGKILL


def test_a_process_may_kill_the_tree_it_stands_in(unix: Unix, kernel: Kernel) -> None:
    seen: list[str] = []

    def child() -> None:
        try:
            unix.kill_tree(process)
        finally:
            seen.append("finally")

    def parent() -> None:
        unix.fork("child", child)
        kernel.sleep(10)
        seen.append("parent")

    process = unix.exec("parent", parent)
    kernel.sleep(20)
    assert seen == []


def test_other_seeds_let_a_status_come_after_the_hang_up(make_unix: MakeUnix) -> None:
    def delay(seed: int) -> int:
        unix = make_unix(seed=seed)
        process = unix.fork("child", lambda: unix.kernel.sleep(1))
        unix.waitpid(process.pid)
        return unix.kernel.now_ns - SECOND

    assert delay(0) == 0
    assert {delay(seed) for seed in range(1, 12)} == {0, LATE_STATUS_NS}


def test_start_and_end_are_told(unix: Unix, kernel: Kernel) -> None:
    told: list[str] = []
    unix.on_start = lambda process: told.append(f"start {process.name}")
    unix.on_exit = lambda process: told.append(f"end {process.name} {process.status}")
    process = unix.exec("w1", lambda: kernel.sleep(10))
    kernel.sleep(1)
    unix.kill(process.pid, signal.SIGKILL)
    assert told == ["start w1", "end w1 9"]
