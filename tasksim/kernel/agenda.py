"""What is due when, and who runs next at one instant."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from tasksim.kernel.choice import Choice

#: An entry is a list so that cancelling is one assignment: [due_ns, serial, function, arguments].
Entry = list[Any]

_FUNCTION = 2
SECOND = 1_000_000_000
#: So often may a program look at the clock within one step for nothing; then each look takes so long (ns).
FREE_LOOKS = 10_000
LOOK_NS = 100_000
#: What a look takes before that where none is free (ns): a whole microsecond, as all times are.
TICK_NS = 1_000
#: The heap is rebuilt when so many cancelled entries lie in it and they are more than half of it.
_COMPACT = 2048


class Agenda:
    """Entries in a total order of (time, serial), and the candidates of the present instant.

    All entries that are due at one instant are candidates. They stand in serial order; seed 0 always takes the first,
    any other seed chooses.

    Attributes:
        now_ns: virtual nanoseconds since the agenda was made.
        seconds: the same in seconds since the origin, kept at hand for those who ask often.
        monotonic: what programs take for a monotonic clock, in seconds; kept at hand as well.
        looks: how often somebody has looked at the clock within the present step.
        free_looks: how many of these cost nothing.
        ready, urgent_ones: entries of this instant; for the kernel's loop, which takes the only one without a call.
    """

    __slots__ = (
        "_cancelled",
        "_choose",
        "_heap",
        "_monotonic_ns",
        "_monotonic_offset",
        "_origin_ns",
        "_serial",
        "free_looks",
        "looks",
        "monotonic",
        "now_ns",
        "ready",
        "seconds",
        "urgent_ones",
    )

    def __init__(self, choice: Choice) -> None:
        self.now_ns = self.looks = self._origin_ns = 0
        self._monotonic_ns = self._monotonic_offset = 0
        self.seconds = self.monotonic = 0.0
        self.free_looks = FREE_LOOKS
        self._heap: list[Entry] = []
        self.ready: deque[Entry] = deque()
        self.urgent_ones: deque[Entry] = deque()
        self._serial = 0
        self._cancelled = 0
        self._choose: Callable[[int], int] | None = choice.stream("order").below if choice.seed else None

    def set_origin(self, origin_ns: int) -> None:
        """Let `seconds` be 0 when the clock has come to this."""
        self._origin_ns = origin_ns
        self._set(self.now_ns)

    def set_monotonic(self, epoch_ns: int, offset: int) -> None:
        """Let `monotonic` be that of a computer whose clock showed `epoch_ns` at first, less so many seconds."""
        self._monotonic_ns, self._monotonic_offset = epoch_ns, offset
        self._set(self.now_ns)

    def _set(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.seconds = (now_ns - self._origin_ns) / SECOND
        self.monotonic = (now_ns + self._monotonic_ns) / SECOND - self._monotonic_offset

    def at(self, due_ns: int, function: Callable[..., object], *args: object) -> Entry:
        """Call `function(*args)` when the clock has reached `due_ns`; what is past is due now."""
        self._serial += 1
        entry: Entry = [due_ns, self._serial, function, args]
        if due_ns <= self.now_ns:
            self.ready.append(entry)
        else:
            heapq.heappush(self._heap, entry)
        return entry

    def soon(self, function: Callable[..., object], *args: object) -> Entry:
        """Call `function(*args)` at this very instant, after what runs now."""
        self._serial += 1
        entry: Entry = [self.now_ns, self._serial, function, args]
        self.ready.append(entry)
        return entry

    def urgent(self, function: Callable[..., object], *args: object) -> None:
        """Call `function(*args)` before any other candidate, as soon as what runs now parks."""
        self._serial += 1
        self.urgent_ones.append([self.now_ns, self._serial, function, args])

    def look(self) -> int:
        """The time, for a program that asks.

        One that asks again and again within one step, waiting for time to pass, computes: then each look takes time.
        """
        self.looks += 1
        if self.looks > self.free_looks:
            self._set(self.now_ns + (LOOK_NS if self.looks > FREE_LOOKS else TICK_NS))
        return self.now_ns

    def cancel(self, entry: Entry) -> None:
        """Forget an entry; one that has run already is no error."""
        if entry[_FUNCTION] is None:
            return
        entry[_FUNCTION] = None
        self._cancelled += 1
        if self._cancelled > _COMPACT and self._cancelled * 2 > len(self._heap):
            self._heap = [one for one in self._heap if one[_FUNCTION] is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def pop(self) -> Entry | None:
        """The next candidate of this instant, or None when all of it has been done."""
        self.looks = 0
        if self.urgent_ones:
            return self.urgent_ones.popleft()
        ready = self.ready
        while ready:
            if self._choose is None or len(ready) == 1:
                entry = ready.popleft()
            else:
                index = self._choose(len(ready))
                entry = ready[index]
                del ready[index]
            if entry[_FUNCTION] is not None:
                return entry
        return None

    def next_due_ns(self) -> int | None:
        """When the clock would have to stand for something to happen; None when nothing is left."""
        heap = self._heap
        while heap and heap[0][_FUNCTION] is None:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def advance(self, due_ns: int) -> None:
        """Move the clock to `due_ns` and make what is due then the candidates."""
        due_ns = max(due_ns, self.now_ns)
        self._set(due_ns)
        heap, ready = self._heap, self.ready
        while heap and heap[0][0] <= due_ns:
            entry = heapq.heappop(heap)
            if entry[_FUNCTION] is None:
                self._cancelled -= 1
            else:
                ready.append(entry)

    def clear(self) -> None:
        """Forget everything: the end of a world."""
        self._heap.clear()
        self.ready.clear()
        self.urgent_ones.clear()
