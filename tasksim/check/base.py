"""What a check is, and what it finds. A check reads the events of a run, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tasksim.check.sources import INCIDENTS
from tasksim.events import Event

__all__ = ["Finding", "Invariant", "seconds"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold.

    Attributes:
        check: the name of the check.
        sentence: what is wrong.
        events: the events that show it, in order.
        law: the law that decides it ("S1"), see `tasksim.check.sources.LAWS`.
        incident: the known incident that it is ("I6"), see `tasksim.check.sources.INCIDENTS`; None if it is none.
    """

    check: str
    sentence: str
    events: tuple[Event, ...]
    law: str
    incident: str | None = None

    def __str__(self) -> str:
        known = "" if self.incident is None else f", incident {self.incident}: {INCIDENTS[self.incident][0]}"
        return f"{self.check}: {self.sentence} (law {self.law}{known})"


#: What a check finds in the events of a run.
Search = Callable[[Sequence[Event]], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must hold in every run.

    Attributes:
        name: as in `tasksim check --only NAME` and in scenarios.
        claim: what must hold, in a sentence.
        laws: those of Celery that it follows from.
        exceptions: what is no finding, and by which law.
        incidents: those that it can name as the reason.
        search: the check itself.
    """

    name: str
    claim: str
    laws: tuple[str, ...]
    exceptions: tuple[str, ...]
    incidents: tuple[str, ...]
    search: Search

    def find(self, events: Sequence[Event]) -> Iterator[Finding]:
        """Whatever does not hold in these events, in order."""
        yield from self.search(events)


def seconds(number: float) -> str:
    """A time for a sentence: at most milliseconds, no zeros at the end."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
