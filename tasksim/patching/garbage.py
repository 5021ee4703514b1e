"""Python's garbage collection while a world is open: what it does is no step of any program.

It comes at moments that no seed decides. Tools that measure it (hypothesis, for one) look at the clock when it begins
and when it ends, and so may finalizers; such looks take no time.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping

from tasksim.kernel.loop import Kernel

#: Failures and retries between two collections; each leaves some 400 KiB. Of so many one is for older objects, too.
_FAILURES, _OLDER = 100, 10


class Garbage:
    """Tells the kernel when garbage is collected.

    Args:
        kernel: whose `collecting` is set.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self._looks = kernel, (0, 0)
        self._failed = self._times = 0

    def watch(self) -> None:
        """Be the first to hear that it begins, and the last that it has ended."""
        gc.callbacks.insert(0, self._begins)
        gc.callbacks.append(self._ends)

    def failed(self, _: object) -> None:
        """A task has failed, or is to be retried: its exception and the frames that it holds are a cycle.

        Python's own collection is off, for it comes when nobody has planned it. So after so many failures there is one.
        """
        self._failed += 1
        if self._failed == _FAILURES:
            self._failed, self._times = 0, self._times + 1
            self._kernel.soon(self._collect)

    def _collect(self) -> None:
        """What is finalized acts in the test's own process; what has outlived a collection is looked at less often."""
        self._kernel.be_driver()
        gc.collect(0 if self._times % _OLDER else 1)

    def leave(self) -> None:
        """Undo `watch`."""
        for one in (self._begins, self._ends):
            if one in gc.callbacks:
                gc.callbacks.remove(one)
        self._over()

    def _begins(self, phase: str, _: Mapping[str, int]) -> None:
        if phase == "start":
            agenda = self._kernel.agenda
            self._kernel.collecting, self._looks = True, (agenda.looks, agenda.free_looks)
            agenda.free_looks = sys.maxsize

    def _ends(self, phase: str, _: Mapping[str, int]) -> None:
        if phase == "stop":
            self._over()

    def _over(self) -> None:
        if self._kernel.collecting:
            self._kernel.collecting = False
            self._kernel.agenda.looks, self._kernel.agenda.free_looks = self._looks
