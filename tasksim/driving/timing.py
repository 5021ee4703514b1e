"""Letting time pass."""

from __future__ import annotations

from collections.abc import Callable

from tasksim.driving.running import Running
from tasksim.errors import Stuck, UsageError
from tasksim.kernel.loop import SECOND
from tasksim.trace.pattern import Pattern
from tasksim.world import LEAD_NS

Condition = float | Pattern | Callable[[], object]


class Timing(Running):
    """Running the world until something is so."""

    @property
    def now(self) -> float:
        """Virtual seconds since the start; after the end, those of the end."""
        if self._world.open:
            self._ensure_begun()
        return self._world.now()

    def run(self, until: Condition | None = None, *, limit: float | None = None) -> None:
        """Run until nothing is left to do, or until a time, a pattern or a condition.

        Args:
            until: seconds since the start, a pattern, or a function without arguments.
            limit: virtual seconds that this may take.

        Raises:
            Stuck: the limit is reached, or nothing happens although work is left.
            UsageError: beat runs and `until` is not given: it would never end.
        """
        self._ensure_begun()
        if until is None:
            if any(not beat.dead for beat in self._world.hosts.beats.values()):
                raise UsageError("beat runs, so there is always something left to do: give run(until=...)")
            self._run_until_idle(limit)
        elif isinstance(until, (int, float)):
            if not until >= 0:
                raise UsageError(f"run(until={until!r}): seconds are counted from the start, which is 0")
            self._park_until(round(until * SECOND) + LEAD_NS)
        elif isinstance(until, Pattern) or callable(until):
            self.run_until(until, limit=limit)
        else:
            raise UsageError(
                f"run(until={until!r}): give seconds since the start, a pattern such as sim.started(task), "
                "or a function without arguments"
            )

    def _run_until_idle(self, limit: float | None) -> None:
        if self._kernel.current is not self._kernel.driver:
            raise UsageError("only the test itself can run the simulation, not a task")
        deadline_ns = None if limit is None else self._kernel.due_ns(limit)
        self._progress.until_idle = True
        try:
            while self._progress.until_idle:
                woken = self._kernel.park(deadline_ns, "the end of all work")
                if not woken and self._progress.until_idle:
                    left = self._progress.left()
                    raise Stuck(f"run(limit={limit:g}): work is left after {limit:g} virtual seconds:\n{left}")
        finally:
            self._progress.until_idle = False

    def _park_until(self, due_ns: int) -> None:
        while self._kernel.now_ns < due_ns:
            self._kernel.park(due_ns, "its time to come")

    def run_until(self, condition: Pattern | Callable[[], object], *, limit: float | None = None) -> None:
        """Run until a pattern is seen from now on, or a function returns something true.

        The function is asked whenever the clock is about to move.
        """
        self._ensure_begun()
        if isinstance(condition, Pattern):
            counter, seen = condition.arm(), []
            stop = self.trace.subscribe(
                condition.kind, lambda event: seen.append(1) if counter.matches(event) else None
            )
            try:
                self._wait(lambda: bool(seen), limit)
            finally:
                stop()
        else:
            self._wait(condition, limit)

    def _wait(self, condition: Callable[[], object], limit: float | None, *, at_once: bool = True) -> None:
        """Until a condition holds: now already (`at_once`), or when all of an instant has been done."""
        kernel = self._kernel
        deadline_ns = None if limit is None else kernel.due_ns(limit)
        before = kernel.before_advance
        holds = False

        def look(due_ns: int | None) -> bool:
            nonlocal holds
            if condition():
                holds = True
                kernel.wake(kernel.driver_thread)
                return True
            return before(due_ns)

        while not (holds or (at_once and condition())):
            kernel.before_advance = look
            try:
                woken = kernel.park(deadline_ns, "a condition")
            finally:
                kernel.before_advance = before
            if not woken and not holds and not condition():
                raise Stuck(f"the condition did not come true within {limit} virtual seconds")

    def advance(self, seconds: float) -> None:
        """Let this much time pass.

        Raises:
            UsageError: less than no time.
        """
        if not seconds >= 0:
            raise UsageError(f"advance({seconds!r}): time passes in one direction; give 0 seconds or more")
        self._ensure_begun()
        self._park_until(self._kernel.due_ns(seconds))

    def at(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function at this time since the start, at once if that is past; in the test's own process.

        It may do whatever the test may, wait for a result too; the test goes on meanwhile.
        """
        self._ensure_begun()
        kernel, progress = self._kernel, self._progress
        progress.planned += 1

        def act() -> None:
            try:
                function()
            finally:
                progress.planned -= 1

        kernel.at(round(seconds * SECOND) + LEAD_NS, kernel.run_in, kernel.driver, act)

    def _plan(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something to the world at this time; it must not wait."""
        progress = self._progress
        progress.planned += 1

        def act() -> None:
            progress.planned -= 1
            action()

        self._kernel.at(round(seconds * SECOND) + LEAD_NS, act)
