"""Who is told when a simulation begins: a test framework, whose report speaks of the simulations of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Called with each simulation that has just begun.
watchers: list[Callable[[Any], object]] = []
