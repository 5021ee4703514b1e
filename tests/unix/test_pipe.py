"""Pipes, against those of the operating system."""

from __future__ import annotations

import fcntl
import os
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasksim.kernel.loop import Kernel
from tasksim.unix.descriptors import ERR, HUP, IN, OUT
from tasksim.unix.pipe import ATOMIC, CAPACITY
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix

sizes = st.one_of(st.integers(0, 10), st.sampled_from([ATOMIC - 1, ATOMIC, ATOMIC + 1, CAPACITY, CAPACITY + 1]))
steps = st.lists(st.tuples(st.sampled_from(["read", "write", "close reader", "close writer"]), sizes), max_size=20)


class Real:
    """os.pipe with the same face."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)
        self.read, self.write, self.close = os.read, os.write, os.close


class Simulated:
    """A pipe of the simulated Unix."""

    def __init__(self) -> None:
        unix = Unix(Kernel(UnixProcess(1, "client")))
        self.reader, self.writer = unix.pipe()
        for descriptor in (self.reader, self.writer):
            unix.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK)
        self.read, self.write, self.close = unix.read, unix.write, unix.close


def play(pipe: Real | Simulated, story: list[tuple[str, int]]) -> list[object]:
    """What each step gives: a number, bytes, or the kind of error."""
    ends = {"close reader": pipe.reader, "close writer": pipe.writer}
    is_open = dict.fromkeys(ends, True)
    seen: list[object] = []
    for step, size in story:
        try:
            if step == "read" and is_open["close reader"]:
                seen.append(pipe.read(pipe.reader, size))
            elif step == "write" and is_open["close writer"]:
                seen.append(pipe.write(pipe.writer, bytes(number % 251 for number in range(size))))
            elif step in ends and is_open[step]:
                is_open[step] = False
                seen.append(pipe.close(ends[step]))
        except OSError as exc:
            seen.append(type(exc).__name__)
    for step, descriptor in ends.items():
        if is_open[step]:
            pipe.close(descriptor)
    return seen


def whole(story: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """A real pipe keeps its bytes in pages and wastes what is left of one; so all is read before more is written."""
    plan: list[tuple[str, int]] = []
    for step, size in story:
        if step == "read" and plan and plan[-1][0] == "write":
            plan += [("read", 2 * CAPACITY)]
        elif step != "write" or not plan or plan[-1][0] != "write":
            plan.append((step, size))
    return plan


@given(steps)
def test_a_pipe_gives_what_a_real_one_gives(story: list[tuple[str, int]]) -> None:
    plan = whole(story)
    assert play(Simulated(), plan) == play(Real(), plan)


@given(st.lists(st.integers(1, 3 * ATOMIC), max_size=12), st.integers(1, 5000), st.integers(0, 50))
def test_blocking_writers_and_a_reader_lose_nothing_and_small_writes_stay_whole(
    lengths: list[int], chunk: int, seed: int
) -> None:
    unix = Unix(Kernel(UnixProcess(1, "client"), seed=seed))
    reader, writer = unix.pipe()

    def write(data: bytes) -> None:
        unix.write(writer, data)

    for number, length in enumerate(lengths):
        unix.fork(f"writer {number}", partial(write, bytes([number]) * length))
    unix.close(writer)
    got = b""
    while data := unix.read(reader, chunk):
        got += data
    assert len(got) == sum(lengths)
    for number, length in enumerate(lengths):
        assert got.count(number) == length
        if length <= ATOMIC:
            assert bytes([number]) * length in got


def test_a_pipe_holds_64_kib_then_a_write_waits_for_the_reader(unix: Unix, kernel: Kernel) -> None:
    reader, writer = unix.pipe()
    assert unix.write(writer, bytes(CAPACITY)) == CAPACITY

    def read_later() -> None:
        kernel.sleep(3)
        unix.read(reader, ATOMIC)

    unix.fork("child", read_later)
    assert unix.write(writer, b"x") == 1
    assert kernel.now_ns == 3_000_000_000


def test_a_write_of_at_most_pipe_buf_goes_whole_or_not_at_all(unix: Unix) -> None:
    _, writer = unix.pipe()
    unix.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    unix.write(writer, bytes(CAPACITY - 10))
    with pytest.raises(BlockingIOError):
        unix.write(writer, bytes(11))
    assert unix.write(writer, bytes(2 * ATOMIC)) == 10


def test_writing_to_nobody_is_a_broken_pipe_also_for_one_who_waits(unix: Unix, kernel: Kernel) -> None:
    reader, writer = unix.pipe()
    unix.write(writer, bytes(CAPACITY))
    process = unix.fork("reader", lambda: kernel.sleep(2))
    unix.close(reader)
    with pytest.raises(BrokenPipeError):
        unix.write(writer, b"x")
    assert kernel.now_ns == 2_000_000_000
    assert process.dead


def test_what_poll_says_of_both_ends(unix: Unix) -> None:
    reader, writer = unix.pipe()
    assert unix.file(reader).events() == 0
    assert unix.file(writer).events() == OUT
    unix.write(writer, b"x")
    assert unix.file(reader).events() == IN
    unix.write(writer, bytes(CAPACITY - 1))
    assert unix.file(writer).events() == 0
    unix.read(reader, ATOMIC)
    assert unix.file(writer).events() == OUT
    end = unix.file(writer)
    unix.close(reader)
    assert end.events() == OUT | ERR
    assert unix.file(writer).events() & HUP == 0
