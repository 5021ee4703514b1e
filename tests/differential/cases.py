"""A drawn case, how it is made smaller, and how many cases are run and counted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "Operation", "Outcome", "compare"]


@dataclass(frozen=True)
class Operation:
    """One thing that a client does, on one of its channels or connections."""

    kind: str
    channel: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.kind}({self.channel}{options})"


@dataclass(frozen=True)
class Case:
    """Operations one after the other.

    Attributes:
        timed: things expire; each step ends with a pause.
    """

    operations: tuple[Operation, ...]
    timed: bool = False

    def __str__(self) -> str:
        return "\n".join(f"    {one!r}" for one in self.operations)


@dataclass
class Outcome:
    """What a number of cases came to.

    Attributes:
        cases: how many were run.
        marks: in how many of them each operation and rule occurred.
        unsteady: in how many of them the servers disagreed once, and agreed when they were asked again: what a real
            server leaves to chance, or does late on a loaded machine.
        difference: the first disagreement, made small; empty if there was none.
    """

    cases: int = 0
    marks: Counter[str] = field(default_factory=Counter)
    unsteady: int = 0
    difference: str = ""

    def rarest(self, wanted: Iterable[str]) -> list[tuple[int, str]]:
        """All that is wanted, the rarest first."""
        return sorted((self.marks[name], name) for name in wanted)


#: A case's seed, and the case: gives what occurred in it and the first difference (none if both servers agree).
Run = Callable[[Case], tuple[set[str], "str | None"]]


def compare(draw: Callable[[random.Random], Case], run: Run, seeds: Iterable[int], *, small: bool = True) -> Outcome:
    """Run cases until two servers disagree; with `small`, the case that shows it is made smaller."""
    outcome = Outcome()
    for seed in seeds:
        case = draw(random.Random(seed))
        marks, difference = run(case)
        outcome.cases += 1
        outcome.marks.update(marks)
        if difference is not None and run(case)[1] is None:
            outcome.unsteady += 1
        elif difference is not None:
            if small:
                case, difference = _smaller(case, difference, run)
            outcome.difference = f"case {seed}: {difference}\nof\n{case}"
            break
    return outcome


def _smaller(case: Case, difference: str, run: Run) -> tuple[Case, str]:
    """Leave out operations, one after the other from the end, as long as the servers still disagree."""
    for index in reversed(range(len(case.operations))):
        kept = case.operations[:index] + case.operations[index + 1 :]
        fewer = Case(kept, case.timed)
        _, found = run(fewer)
        if found is not None:
            case, difference = fewer, found
    return case, difference
