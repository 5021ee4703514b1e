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
        block: real seconds that one step may take (`BlockedForReal`).
    """

    idle: float = 3600.0
    stuck: float = 14400.0
    steps: int = 2_000_000
    deliveries: int = 1000
    block: float = 30.0
