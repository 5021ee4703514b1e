"""epoll and poll: who is ready, who is woken, and when."""

from __future__ import annotations

import os
import select

import pytest

from tasksim.kernel.loop import SECOND, Kernel
from tasksim.unix.descriptors import HUP, IN, NVAL, OUT
from tasksim.unix.poll import FREE_ANSWERS, TURN_NS, Epoll, Poll, select_files
from tasksim.unix.system import Unix


@pytest.fixture
def epoll(unix: Unix) -> Epoll:
    return Epoll(unix)


@pytest.fixture
def poll(unix: Unix) -> Poll:
    return Poll(unix, select.poll)


def test_epoll_is_level_triggered(unix: Unix, epoll: Epoll) -> None:
    reader, writer = unix.pipe()
    epoll.register(reader, IN)
    unix.write(writer, b"xy")
    assert epoll.poll(0) == [(reader, IN)]
    unix.read(reader, 1)
    assert epoll.poll(0) == [(reader, IN)]
    unix.read(reader, 1)
    assert epoll.poll(0) == []


def test_what_is_ready_when_it_is_registered_is_told(unix: Unix, epoll: Epoll) -> None:
    reader, writer = unix.pipe()
    unix.write(writer, b"x")
    epoll.register(reader, IN)
    epoll.register(writer, OUT)
    assert epoll.poll(0) == [(reader, IN), (writer, OUT)]


def test_epoll_is_woken_by_the_event_not_by_looking_again(unix: Unix, kernel: Kernel, epoll: Epoll) -> None:
    reader, writer = unix.pipe()
    epoll.register(reader, IN)

    def child() -> None:
        kernel.sleep(2.5)
        unix.write(writer, b"x")

    unix.fork("child", child)
    before = kernel.steps
    assert epoll.poll(60) == [(reader, IN)]
    assert kernel.now_ns == 2_500_000_000
    assert kernel.steps - before < 10


def test_a_loop_that_leaves_what_it_is_told_of_spins_and_others_run_meanwhile(
    unix: Unix, kernel: Kernel, epoll: Epoll
) -> None:
    reader, writer = unix.pipe()
    unix.write(writer, b"x")
    epoll.register(reader, IN)
    news, told = unix.pipe()
    epoll.register(news, IN)

    def child() -> None:
        kernel.sleep(0.75)
        unix.write(told, b"x")

    unix.fork("child", child)
    turns = 0
    while (news, IN) not in epoll.poll(60):
        turns += 1
    assert kernel.now_ns == pytest.approx(750_000_000, abs=2 * TURN_NS)
    assert turns == pytest.approx(FREE_ANSWERS + 750, abs=2)


def test_epoll_waits_its_time_and_then_has_nothing(unix: Unix, kernel: Kernel, epoll: Epoll) -> None:
    reader, _ = unix.pipe()
    epoll.register(reader, IN)
    assert epoll.poll(1.5) == []
    assert kernel.now_ns == 1_500_000_000


def test_what_is_not_asked_for_does_not_wake_but_a_hang_up_always_does(
    unix: Unix, kernel: Kernel, epoll: Epoll
) -> None:
    reader, writer = unix.pipe()
    epoll.register(reader, 0)

    def child() -> None:
        kernel.sleep(1)
        unix.write(writer, b"x")
        kernel.sleep(1)

    unix.fork("child", child)
    unix.close(writer)
    assert epoll.poll() == [(reader, HUP)]
    assert kernel.now_ns == 2 * SECOND


def test_a_closed_file_leaves_the_set_and_its_number_can_be_registered_again(unix: Unix, epoll: Epoll) -> None:
    reader, writer = unix.pipe()
    epoll.register(reader, IN)
    unix.write(writer, b"x")
    unix.close(reader)
    assert epoll.poll(0) == []
    again, other = unix.pipe()
    assert again == reader
    epoll.register(again, IN)
    unix.write(other, b"y")
    assert epoll.poll(0) == [(again, IN)]


def test_a_duplicate_keeps_the_file_in_the_set(unix: Unix, epoll: Epoll) -> None:
    reader, writer = unix.pipe()
    epoll.register(reader, IN)
    unix.dup(reader)
    unix.close(reader)
    unix.write(writer, b"x")
    assert epoll.poll(0) == [(reader, IN)]


def test_two_descriptors_of_one_file_are_told_both(unix: Unix, epoll: Epoll) -> None:
    reader, writer = unix.pipe()
    duplicate = unix.dup(reader)
    epoll.register(reader, IN)
    epoll.register(duplicate, IN)
    assert epoll.poll(0) == []
    unix.write(writer, b"x")
    assert epoll.poll(0) == [(reader, IN), (duplicate, IN)]


def test_epoll_complains_as_the_real_one_does(unix: Unix, epoll: Epoll) -> None:
    reader, _ = unix.pipe()
    epoll.register(reader, IN)
    with pytest.raises(FileExistsError):
        epoll.register(reader, IN)
    epoll.unregister(reader)
    for call in (epoll.unregister, lambda fd: epoll.modify(fd, IN)):
        with pytest.raises(FileNotFoundError):
            call(reader)
    unix.close(reader)
    with pytest.raises(OSError, match="Bad file"):
        epoll.register(reader, IN)


def test_a_mask_can_be_changed(unix: Unix, epoll: Epoll) -> None:
    _, writer = unix.pipe()
    epoll.register(writer, IN)
    assert epoll.poll(0) == []
    epoll.modify(writer, OUT)
    assert epoll.poll(0) == [(writer, OUT)]


def test_a_dead_processs_epoll_disturbs_nobody(unix: Unix, kernel: Kernel) -> None:
    reader, writer = unix.pipe()

    def child() -> None:
        poller = Epoll(unix)
        poller.register(reader, IN)
        poller.poll()

    process = unix.fork("child", child)
    kernel.sleep(1)
    unix.kill(process.pid, 9)
    unix.write(writer, b"x")
    kernel.sleep(1)
    assert unix.read(reader, 1) == b"x"


def test_poll_of_a_closed_descriptor_says_so_at_once(unix: Unix, kernel: Kernel, poll: Poll) -> None:
    reader, _ = unix.pipe()
    other, _ = unix.pipe()
    poll.register(reader)
    poll.register(other)
    unix.close(reader)
    assert poll.poll(5000) == [(reader, NVAL)]
    assert kernel.now_ns == 0


def test_poll_counts_in_milliseconds(unix: Unix, kernel: Kernel, poll: Poll) -> None:
    reader, _ = unix.pipe()
    poll.register(reader)
    assert poll.poll(250) == []
    assert kernel.now_ns == 250_000_000


def test_poll_wakes_for_the_one_that_is_written_to(unix: Unix, kernel: Kernel, poll: Poll) -> None:
    first, _ = unix.pipe()
    second, writer = unix.pipe()
    poll.register(first)
    poll.register(second)
    kernel.at(SECOND, kernel.run_in, kernel.driver, lambda: unix.write(writer, b"x"))
    assert poll.poll() == [(second, IN)]
    assert kernel.now_ns == SECOND
    poll.unregister(second)
    assert poll.poll(0) == []


def test_poll_looks_at_real_descriptors_too(unix: Unix, poll: Poll) -> None:
    reader, writer = os.pipe()
    try:
        simulated, _ = unix.pipe()
        poll.register(simulated)
        poll.register(reader)
        os.write(writer, b"x")
        assert poll.poll(1000) == [(reader, IN)]
    finally:
        os.close(reader)
        os.close(writer)


def test_select_waits_for_the_one_that_can_be_read(unix: Unix, kernel: Kernel) -> None:
    first, _ = unix.pipe()
    second, writer = unix.pipe()
    kernel.at(SECOND, kernel.run_in, kernel.driver, lambda: unix.write(writer, b"x"))
    asked = [first, second], [], [first]
    assert select_files(unix, select.select, asked, None) == ([second], [], [])
    assert kernel.now_ns == SECOND
    assert unix.read(second, 1) == b"x"
    assert select_files(unix, select.select, asked, 0.5) == ([], [], [])
    assert kernel.now_ns == 1.5 * SECOND
    assert select_files(unix, select.select, ([], [writer], []), None) == ([], [writer], [])


def test_select_looks_at_real_descriptors_too(unix: Unix, kernel: Kernel) -> None:
    reader, writer = os.pipe()
    try:
        simulated, _ = unix.pipe()
        assert select_files(unix, select.select, ([reader, simulated], [], []), 1) == ([], [], [])
        assert kernel.now_ns == SECOND
        os.write(writer, b"x")
        assert select_files(unix, select.select, ([reader, simulated], [], []), 1) == ([reader], [], [])
        assert select_files(unix, select.select, ([reader], [], []), None) == ([reader], [], [])
        assert kernel.now_ns == SECOND
    finally:
        os.close(reader)
        os.close(writer)
