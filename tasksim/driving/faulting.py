"""How a fault happens: at once, at a time, or at an event."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasksim.driving.arguments import check_when, instant
from tasksim.driving.timing import Timing
from tasksim.errors import FaultNeverHappened, TasksimError, UsageError
from tasksim.events import Event, Fault
from tasksim.trace.pattern import Armed, Pattern

__all__ = ["Faulting"]

#: Events that are recorded by a worker's own code, in a state in which its process may die.
_TOLD_BY_WORKERS = frozenset(
    (
        "Received", "Scheduled", "Accepted", "Started", "Finished", "StateStored", "HookCalled", "Succeeded", "Failed",
        "Retried", "Revoked", "Expired", "TaskRejected", "TaskUnknown", "WorkerUp", "WorkerStopping", "BeatSent",
    )
)  # fmt: skip


class Faulting(Timing):
    """Faults by hand. Each takes `at` (seconds since the start) or `when` (a pattern), or happens at once."""

    #: Faults that wait for their event, in words, each by what counts its occurrences.
    _awaited: dict[Armed, str]
    #: Is a fault whose event never comes a mistake of the test's?
    _sure = True

    def _fault(
        self, kind: str, target: str, action: Callable[[], object], at: float | None, when: Pattern | None
    ) -> None:
        self._ensure_begun()
        if at is not None and when is not None:
            raise UsageError(f"{kind}: give at= or when=, not both")
        check_when(kind, when)
        at = None if at is None else instant(f"{kind}(at", at)

        def act() -> None:
            who = self._kernel.current.name if when is not None else "client"
            self.trace.record(Fault(self._world.now(), who, kind, target))
            action()

        if when is not None:
            self._when(when, act, f"{kind} {target}")
        elif at is not None:
            self._plan(at, act)
        else:
            act()

    def _when(self, pattern: Pattern, act: Callable[[], None], what: str) -> None:
        """Act at an occurrence: at once for what a worker tells, else before anybody else runs.

        A server records in the middle of what it does; to end a connection under its hands would be a fault of ours.
        """
        counter = pattern.arm()
        if self._sure:
            self._awaited[counter] = f"{what} waits for {pattern}"

        def strike() -> None:
            try:
                act()
            except TasksimError as error:
                self._kernel.fail(error)  # a mistake of the test's, not an error of the task in which it shows

        def look(event: Event) -> None:
            try:
                matches = counter.matches(event)
            except Exception as error:
                stop()
                self._kernel.fail(UsageError(f"{what}: a condition of {pattern} raised {error!r}"))
                return
            if matches:
                stop()
                self._awaited.pop(counter, None)
                self._strike_after(event, strike)

        stop = self.trace.subscribe(pattern.kind, look)

    def _strike_after(self, event: Event, strike: Callable[[], None]) -> None:
        """When all have heard of the event; one of several, for the first may end who tells it."""
        then = self.trace.then
        if type(event).__name__ in _TOLD_BY_WORKERS and not then:
            then.append(strike)
        else:
            self._kernel.agenda.urgent(strike)

    @contextmanager
    def _may_never_happen(self) -> Iterator[None]:
        """Faults that are planned meanwhile are drawn: nobody knows whether their events will come."""
        self._sure = False
        try:
            yield
        finally:
            self._sure = True

    def _warn_of_awaited(self) -> None:
        """A fault whose event never came has tested nothing."""
        for told in self._awaited.values():
            warnings.warn(f"a fault never happened: {told}", FaultNeverHappened, stacklevel=3)
