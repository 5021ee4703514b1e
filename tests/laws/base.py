"""Laws: functions of a drawn case, by number; how they are checked, and what is reported."""

from __future__ import annotations

import importlib.metadata
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from packaging.version import Version

from tests.laws import statistics

#: Least share of cases with that of which a law speaks.
LEAST = 0.3
#: After ten cases hypothesis begins to make variants of these, and 12 of 20 had the same durations: draw ten at a time.
PART = 10
#: Real seconds that the search for a smaller case may take.
SHRINKING = 12.0

clock = time.perf_counter


@dataclass(frozen=True)
class Law:
    """A law: its number in the list of Celery's semantics, its name, and how cases of it are drawn."""

    number: str
    name: str
    function: Callable[..., None]
    strategies: dict[str, Any]
    examples: int
    speaks_of: tuple[str, ...]
    since: str

    @property
    def applies(self) -> bool:
        """Does it hold in the installed release?"""
        return Version(importlib.metadata.version("celery")) >= Version(self.since)


@dataclass(frozen=True)
class Case:
    """One drawn case of a law."""

    law: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.law}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@dataclass
class Report:
    """What came of a law."""

    law: Law
    cases: int = 0
    had: Counter[str] = field(default_factory=Counter)
    smallest: Case | None = None
    error: BaseException | None = None
    seconds: float = 0.0

    @property
    def poor(self) -> list[str]:
        """That of which the law speaks and too few of its cases had."""
        return [tag for tag in self.law.speaks_of if self.had[tag] < LEAST * self.cases]

    def __str__(self) -> str:
        shares = ", ".join(f"{tag} {100 * self.had[tag] // max(self.cases, 1)} %"
                           for tag in ("kill", "redelivery", "retry"))  # fmt: skip
        return f"{self.law.number:4} {self.law.name}: {self.cases} cases, {shares}, {self.seconds:.1f} s"


LAWS: dict[str, Law] = {}


def law(
    number: str, *, examples: int = 26, speaks_of: tuple[str, ...] = (), since: str = "5.5", **strategies: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a law; the keyword arguments are strategies for its own."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        assert name not in LAWS
        assert name.startswith(f"law_{number.lower()}_"), name
        LAWS[name] = Law(number, name, function, strategies, examples, speaks_of, since)
        return function

    return register


class _Budget:
    """Cases that were run, and an end to the search for a smaller one.

    When the time is up, cases that are new pass unrun; those that failed fail again, so the search ends by itself.
    """

    def __init__(self, law: Law, report: Report) -> None:
        self._law, self._report = law, report
        self._until: float | None = None
        #: Cases that are still to be run.
        self.more = 0
        self._known: dict[str, tuple[Case, BaseException | None]] = {}

    def run(self, **arguments: Any) -> None:
        """Run one case."""
        case = Case(self._law.name, arguments)
        known = self._known.get(str(case))
        if known is None:
            if self.more < 1 if self._until is None else clock() > self._until:
                return
            known = self._known[str(case)] = (case, self._outcome(case))
        if known[1] is not None:
            self._report.smallest, self._report.error = known
            raise known[1]

    def _outcome(self, case: Case) -> BaseException | None:
        statistics.begin()
        error: BaseException | None = None
        try:
            self._law.function(**case.arguments)
        except Exception as exc:
            error = exc
            if self._until is None:
                self._until = clock() + SHRINKING
        if self._until is None:
            self.more -= 1
            self._report.cases += 1
            self._report.had.update(statistics.had())
        return error


def check(one: Law, examples: int | None = None, *, shrink: bool = True, seed: int = 0) -> Report:
    """Check a law on so many different cases, or all there are; the report has its smallest failing case.

    The same seed draws the same cases in each run.
    """
    report = Report(one)
    budget = _Budget(one, report)
    wanted = examples or one.examples

    def body(arguments: dict[str, Any]) -> None:
        budget.run(**arguments)

    body.__name__ = body.__qualname__ = one.name
    began = clock()
    try:
        for part in range(3 * wanted // PART + 1):
            test = settings(
                max_examples=PART, database=None, deadline=None, verbosity=Verbosity.quiet,
                phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
                suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
            )(given(st.fixed_dictionaries(one.strategies))(body))  # fmt: skip
            budget.more = wanted - report.cases
            with_seed(f"{one.name} {seed} {part}")(test)()
            if report.cases >= wanted:
                break
    except Exception as exc:
        if report.error is None:
            report.error = exc
    report.seconds = clock() - began
    return report
