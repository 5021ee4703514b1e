"""What ends a simulation with an error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a simulation.

    Attributes:
        idle: virtual seconds that somebody may wait in an idle world (`NothingLeftToDo`).
        stuck: virtual seconds without an event while work is left (`Stuck`).
        steps: steps within one virtual second (`Spinning`).
        deliveries: deliveries of one message within one virtual second (`Spinning`).
        repeats: while the test waits for the end of all work without a limit (`run()`, a call in eager mode): how often
            one message may be delivered again, one task retried, and how many tasks may each call the next (`Stuck`).
        block: real seconds that one step may take (`BlockedForReal`).
    """

    idle: float = 3600.0
    stuck: float = 14400.0
    steps: int = 2_000_000
    deliveries: int = 1000
    repeats: int = 2000
    block: float = 30.0
