"""How a fault happens: at once, at a time, or at an event."""

from __future__ import annotations

from collections.abc import Callable

from tasksim.driving.timing import Timing
from tasksim.errors import UsageError
from tasksim.events import Event, Fault
from tasksim.trace.pattern import Pattern

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

    def _fault(
        self, kind: str, target: str, action: Callable[[], object], at: float | None, when: Pattern | None
    ) -> None:
        self._ensure_begun()
        if at is not None and when is not None:
            raise UsageError(f"{kind}: give at= or when=, not both")

        def act() -> None:
            who = self._kernel.current.name if when is not None else "client"
            self.trace.record(Fault(self._world.now(), who, kind, target))
            action()

        if when is not None:
            self._when(when, act)
        elif at is not None:
            self._plan(at, act)
        else:
            act()

    def _when(self, pattern: Pattern, act: Callable[[], None]) -> None:
        """Act at an occurrence: at once for what a worker tells, else before anybody else runs.

        A server records in the middle of what it does; to end a connection under its hands would be a fault of ours.
        """
        counter = pattern.arm()

        def look(event: Event) -> None:
            if counter.matches(event):
                stop()
                if type(event).__name__ in _TOLD_BY_WORKERS:
                    act()
                else:
                    self._kernel.agenda.urgent(act)

        stop = self.trace.subscribe(pattern.kind, look)
