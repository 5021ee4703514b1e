"""What must hold in every run: checks on a trace, one module for each. They know the events and nothing else.

A finding names the law of Celery that decides it, and the known incident that it is, if it is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasksim.check.attempts_bounded import ATTEMPTS_BOUNDED
from tasksim.check.backoff_envelope import BACKOFF_ENVELOPE
from tasksim.check.base import Finding, Invariant
from tasksim.check.not_before_eta import NOT_BEFORE_ETA
from tasksim.check.nothing_lost import NOTHING_LOST
from tasksim.check.nothing_twice import NOTHING_TWICE
from tasksim.check.prefetch import UNACKED_WITHIN_PREFETCH
from tasksim.check.sources import INCIDENTS, LAWS
from tasksim.errors import UsageError
from tasksim.events import Event

__all__ = ["CHECKS", "INCIDENTS", "LAWS", "Finding", "Invariant", "check_trace"]

#: Every check by its name.
CHECKS: dict[str, Invariant] = {
    invariant.name: invariant
    for invariant in (
        NOTHING_LOST,
        NOTHING_TWICE,
        ATTEMPTS_BOUNDED,
        BACKOFF_ENVELOPE,
        NOT_BEFORE_ETA,
        UNACKED_WITHIN_PREFETCH,
    )
}


def check_trace(trace: Iterable[Event], *names: str) -> list[Finding]:
    """Look for what must not happen.

    Args:
        trace: a trace, or any events in order.
        names: of the checks; none means all.

    Returns:
        What was found: of each check, in order. Empty is good.

    Raises:
        UsageError: there is no check of this name.
    """
    for name in names:
        if name not in CHECKS:
            raise UsageError(f"there is no check {name!r}; there are: {', '.join(CHECKS)}")
    events: Sequence[Event] = trace if isinstance(trace, Sequence) else list(trace)
    return [finding for name in names or CHECKS for finding in CHECKS[name].find(events)]
