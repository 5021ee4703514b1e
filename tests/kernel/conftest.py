"""A kernel with nothing around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import Process

MakeKernel = Callable[..., Kernel]


@pytest.fixture
def make_kernel() -> Iterator[MakeKernel]:
    """Makes kernels, and closes them at the end of the test."""
    made: list[Kernel] = []

    def make(**options: int) -> Kernel:
        kernel = Kernel(Process(1, "client"), **options)
        made.append(kernel)
        return kernel

    yield make
    for kernel in made:
        kernel.close()


@pytest.fixture
def kernel(make_kernel: MakeKernel) -> Kernel:
    """A kernel of seed 0."""
    return make_kernel()
