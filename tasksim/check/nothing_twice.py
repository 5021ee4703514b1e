"""Nothing twice: a message whose task came to its end is not run again, nor while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasksim import events as e
from tasksim.check.base import Finding, Invariant, seconds
from tasksim.check.ledger import Ledger, Life, Run

__all__ = ["NOTHING_TWICE"]

_NAME = "nothing_twice"


def _search(events: Sequence[e.Event]) -> Iterator[Finding]:
    ledger = Ledger(events)
    for life in ledger.lives:
        again = [run for place, run in enumerate(life.runs) if _needless(run, life.runs[:place])]
        if again:
            yield _finding(life, again)


def _needless(run: Run, before: Sequence[Run]) -> bool:
    """Whether it began although an earlier run was whole, or goes on."""
    start = run.started.time
    return any(
        (one.complete and one.state != "REJECTED") or one.ended is None or (one.ended.time > start and one.complete)
        for one in before
    )


def _finding(life: Life, again: list[Run]) -> Finding:
    first = again[0].started
    times = ", ".join(seconds(run.started.time) for run in life.runs)
    law, incident, why = _reason(life, first)
    sentence = f"{life.name} ran {len(life.runs)} times, at {times} s: {why}"
    shown = [life.published, *(back for back, _ in life.back), *(run.started for run in life.runs)]
    return Finding(_NAME, sentence, tuple(sorted(shown, key=lambda event: event.time)), law, incident)


def _reason(life: Life, again: e.Started) -> tuple[str, str | None, str]:
    """Which law brought the message back before this start, and which incident that is."""
    before = [(back, run) for back, run in life.back if back.time <= again.time]
    if not before:
        return "S33", None, "nobody had put its message back"
    back, run = before[0]
    if back.reason == "visibility timeout":
        if run is not None:
            return "S39", "I3", "it ran for longer than the visibility timeout"
        if life.scheduled:
            return "S39", "I1", "it waited for its ETA beyond the visibility timeout"
        return "S39", "I4", "it waited behind others beyond the visibility timeout"
    return "S37", "I28", f"its message came back while it ran ({back.reason})"


NOTHING_TWICE = Invariant(
    _NAME,
    "a message whose task came to its end is not run again, and no message is run twice at a time",
    ("S2", "S33", "S37", "S39"),
    (
        "a run that died with its process does not count: the next one makes up for it (S2, S7)",
        "Reject(requeue=True) asks for another run (S5)",
        "a retry is a new message (S3), and so is replace() (S54)",
        "a redelivered message that deduplication skips does not run (S56)",
    ),
    ("I1", "I3", "I4", "I28"),
    _search,
)
