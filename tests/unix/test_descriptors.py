"""Descriptors: numbers, counting over fork and dup, and what closes when."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from tasksim.kernel.loop import Kernel
from tasksim.unix.descriptors import FIRST_DESCRIPTOR, HUP, IN
from tasksim.unix.system import Unix


def test_a_new_descriptor_is_the_lowest_free_one(unix: Unix) -> None:
    first = unix.pipe()
    second = unix.pipe()
    assert [*first, *second] == [FIRST_DESCRIPTOR + number for number in range(4)]
    unix.close(first[1])
    assert unix.dup(second[0]) == first[1]


def test_a_closed_descriptor_is_bad(unix: Unix) -> None:
    reader, _ = unix.pipe()
    unix.close(reader)
    for call in (lambda: unix.read(reader, 1), lambda: unix.close(reader), lambda: unix.dup(reader)):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_a_read_end_cannot_be_written_to_nor_a_write_end_read(unix: Unix) -> None:
    reader, writer = unix.pipe()
    with pytest.raises(OSError, match="Bad file"):
        unix.write(reader, b"x")
    with pytest.raises(OSError, match="Bad file"):
        unix.read(writer, 1)


def test_numbers_are_each_processs_own(unix: Unix, kernel: Kernel) -> None:
    unix.pipe()
    seen: list[tuple[int, int]] = []
    unix.exec("w1", lambda: seen.append(unix.pipe()))
    kernel.sleep(1)
    assert seen == [(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 1)]


def test_the_other_end_hangs_up_when_the_last_of_all_duplicates_is_closed(unix: Unix) -> None:
    reader, writer = unix.pipe()
    duplicate = unix.dup(writer)
    unix.close(writer)
    assert unix.file(reader).events() == 0
    unix.close(duplicate)
    assert unix.file(reader).events() == HUP
    assert unix.read(reader, 1) == b""


def test_a_forked_childs_copy_keeps_a_pipe_open_until_the_child_ends(unix: Unix, kernel: Kernel) -> None:
    reader, writer = unix.pipe()
    unix.fork("child", lambda: kernel.sleep(5))
    unix.close(writer)
    assert unix.read(reader, 10) == b""
    assert kernel.now_ns == 5_000_000_000


def test_a_killed_childs_copy_closes_as_well_but_what_it_wrote_can_be_read(unix: Unix, kernel: Kernel) -> None:
    reader, writer = unix.pipe()

    def child() -> None:
        unix.write(writer, b"last words")
        kernel.sleep(100)

    process = unix.fork("child", child)
    unix.close(writer)
    kernel.sleep(1)
    unix.kill(process.pid, 9)
    assert unix.file(reader).events() == IN | HUP
    assert unix.read(reader, 100) == b"last words"
    assert unix.read(reader, 100) == b""


def test_closing_in_the_child_leaves_the_parents_descriptor_open(unix: Unix, kernel: Kernel) -> None:
    reader, writer = unix.pipe()
    unix.fork("child", lambda: unix.close(writer))
    kernel.sleep(1)
    unix.write(writer, b"x")
    assert unix.read(reader, 1) == b"x"


def test_flags_are_shared_by_all_who_share_the_open_file(unix: Unix, kernel: Kernel) -> None:
    reader, _ = unix.pipe()
    duplicate = unix.dup(reader)
    unix.fork("child", lambda: unix.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK))
    kernel.sleep(1)
    assert unix.fcntl(duplicate, fcntl.F_GETFL) == os.O_NONBLOCK
    with pytest.raises(BlockingIOError):
        unix.read(duplicate, 1)


def test_closing_ones_own_leaves_alone_what_has_taken_its_number(unix: Unix) -> None:
    reader, writer = unix.pipe()
    file = unix.file(reader)
    unix.close(reader)
    again, _ = unix.pipe()
    assert again == reader
    unix.close_own(reader, file)
    assert unix.has(again)
    unix.close_own(writer, unix.file(writer))
    assert not unix.has(writer)
