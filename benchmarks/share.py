"""Which part of the processor time is whose: a sample of the stack at each tick of the processor clock."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from types import FrameType, TracebackType

#: Seconds of processor time between two samples. The kernel rounds it up to its own tick.
INTERVAL = 0.001


def owner_of(frame: FrameType | None) -> str:
    """The top-level package of the innermost frame outside the standard library."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package and package not in sys.stdlib_module_names:
            return package
        frame = frame.f_back
    return "python"


class Shares:
    """Counts samples by package while it is open; only in the main thread."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()

    def __enter__(self) -> Shares:
        self._before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        self.samples[owner_of(frame)] += 1

    def of(self, package: str) -> float:
        """Part of all samples, from 0 to 1."""
        return self.samples[package] / max(self.samples.total(), 1)
