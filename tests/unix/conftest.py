"""A simulated Unix with nothing around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasksim.kernel.loop import Kernel
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix

MakeUnix = Callable[..., Unix]


@pytest.fixture
def make_unix() -> Iterator[MakeUnix]:
    """Makes systems, and closes them at the end of the test."""
    made: list[Unix] = []

    def make(**options: Any) -> Unix:
        unix = Unix(Kernel(UnixProcess(os.getpid(), "client"), **options))
        made.append(unix)
        return unix

    yield make
    for unix in made:
        for process in list(unix.processes.values()):
            unix.kernel.bury(process)
        unix.kernel.close()


@pytest.fixture
def unix(make_unix: MakeUnix) -> Unix:
    """A system of seed 0."""
    return make_unix()


@pytest.fixture
def kernel(unix: Unix) -> Kernel:
    """Its kernel."""
    return unix.kernel
