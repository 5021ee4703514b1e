"""What share of a law's cases had a kill, a redelivery, a retry."""

from __future__ import annotations

from collections.abc import Iterable

#: What the worlds of the current case had.
_now: set[str] = set()


def begin() -> None:
    """A new case."""
    _now.clear()


def tell(tags: Iterable[str]) -> None:
    """The current case had these."""
    _now.update(tags)


def had() -> frozenset[str]:
    """What the current case had so far."""
    return frozenset(_now)
