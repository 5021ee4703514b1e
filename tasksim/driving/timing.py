"""Letting time pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from tasksim.driving.arguments import check_action, check_condition, duration, duration_or_ever, instant, is_number
from tasksim.driving.running import Running
from tasksim.errors import Stuck, UsageError
from tasksim.events import Event
from tasksim.idle import Waits
from tasksim.kernel.loop import SECOND
from tasksim.kernel.process import Thread, running_thread
from tasksim.trace.pattern import Pattern
from tasksim.world import LEAD_NS

Condition = float | Pattern | Callable[[], object]


class Timing(Running):
    """Running the world until something is so."""

    @property
    def now(self) -> float:
        """Virtual seconds since the start; after the end, those of the end."""
        if self._world.open or self._trace is None:
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
        limit = duration_or_ever("run(limit", limit)
        if until is None:
            if any(not beat.dead for beat in self._world.hosts.beats.values()):
                raise UsageError("beat runs, so there is always something left to do: give run(until=...)")
            self._run_until_idle(limit)
        elif isinstance(until, Pattern) or callable(until):
            self._run_until("run(until", until, limit)
        elif is_number(until) or isinstance(until, (timedelta, datetime)):
            self._run_until_instant(instant("run(until", until), limit)
        else:
            check_condition("run(until", until)

    def _run_until_instant(self, until: float, limit: float | None) -> None:
        due_ns = round(until * SECOND) + LEAD_NS
        deadline_ns = due_ns if limit is None else min(due_ns, self._kernel.due_ns(limit))
        self._park_until(deadline_ns)
        if deadline_ns < due_ns:
            raise Stuck(f"run(until={until:g}, limit={limit:g}): it is {self.now:g} s, and the limit is reached")

    def _run_until_idle(self, limit: float | None) -> None:
        if self._kernel.current is not self._kernel.driver:
            raise UsageError("only the test itself can run the simulation, not a task")
        if isinstance(running_thread(), Thread):  # what it waits for includes its own end
            raise UsageError(
                "run() waits until nothing is left to do, and the function of sim.at (or the thread) that calls it is "
                "left: let the test itself call it, or give run(until=...)"
            )
        deadline_ns = None if limit is None else self._kernel.due_ns(limit)
        progress = self._progress
        progress.until_idle = True
        try:
            with progress.without_end() if limit is None else contextlib.nullcontext():
                while progress.until_idle:
                    woken = self._kernel.park(deadline_ns, "the end of all work")
                    if not woken and progress.until_idle:
                        left = progress.left()
                        raise Stuck(f"run(limit={limit:g}): work is left after {limit:g} virtual seconds:\n{left}")
        finally:
            progress.until_idle = False

    def _park_until(self, due_ns: int) -> None:
        while self._kernel.now_ns < due_ns:
            self._kernel.park(due_ns, "its time to come")

    def run_until(self, condition: Pattern | Callable[[], object], *, limit: float | None = None) -> None:
        """Run until a pattern is seen from now on, or a function returns something true.

        The function is asked whenever the clock is about to move.
        """
        self._run_until("run_until(condition", condition, duration_or_ever("run_until(limit", limit))

    def _run_until(self, place: str, condition: Pattern | Callable[[], object], limit: float | None) -> None:
        self._ensure_begun()
        check_condition(place, condition)
        if not isinstance(condition, Pattern):
            name = getattr(condition, "__qualname__", None) or repr(condition)
            self._wait(condition, limit, what=f"the condition {name.replace('<locals>.', '')}")
            return
        counter, seen = condition.arm(), []

        def look(event: Event) -> None:
            try:
                if counter.matches(event):
                    seen.append(event)
            except Exception as error:  # the test's own, and not of the task in whose hands it shows
                stop()
                self._kernel.fail(UsageError(f"{place}=...): a condition of {condition} raised {error!r}"))

        stop = self.trace.subscribe(condition.kind, look)
        try:
            self._wait(lambda: bool(seen), limit, what=f"the pattern {condition}")
        finally:
            stop()

    def _wait(
        self, condition: Callable[[], object], limit: float | None, *, at_once: bool = True,
        what: str = "the condition",
    ) -> None:  # fmt: skip
        """Until a condition holds: now already (`at_once`), or when all of an instant has been done."""
        kernel = self._kernel
        deadline_ns = None if limit is None else kernel.due_ns(limit)
        waits = Waits(running_thread(), condition)
        while not (waits.holds or (at_once and condition())):
            self._progress.waits.append(waits)
            try:
                woken = kernel.park(deadline_ns, what)
            finally:
                self._progress.waits.remove(waits)
            if not woken and not waits.holds and not condition():
                raise Stuck(f"{what} did not come true within {limit:g} virtual seconds")

    def advance(self, seconds: float) -> None:
        """Let this much time pass.

        Raises:
            UsageError: less than no time.
        """
        self._ensure_begun()
        if is_number(seconds) and seconds < 0:
            raise UsageError(f"advance({seconds!r}): time passes in one direction; give 0 seconds or more")
        self._park_until(self._kernel.due_ns(duration("advance(seconds", seconds)))

    def at(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function at this time since the start, at once if that is past; in the test's own process.

        It may do whatever the test may, wait for a result too; the test goes on meanwhile.
        """
        self._ensure_begun()
        check_action("at(function", function)
        kernel, progress = self._kernel, self._progress
        due_ns = round(instant("at(seconds", seconds) * SECOND) + LEAD_NS
        progress.planned += 1  # from here on nothing fails, or no run would ever end

        def act() -> None:
            try:
                function()
            finally:
                progress.planned -= 1

        kernel.at(due_ns, kernel.run_in, kernel.driver, act)

    def _plan(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something to the world at this time; it must not wait."""
        progress = self._progress
        due_ns = round(seconds * SECOND) + LEAD_NS
        progress.planned += 1

        def act() -> None:
            progress.planned -= 1
            action()

        self._kernel.at(due_ns, act)
