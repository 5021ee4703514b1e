"""Attempts bounded: no retry beyond max_retries, each counted, and no message that comes back without end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasksim import events as e
from tasksim.check.base import Finding, Invariant
from tasksim.check.ledger import Ledger, Life
from tasksim.check.retried import retries

__all__ = ["ATTEMPTS_BOUNDED", "MOST_IN_VAIN"]

_NAME = "attempts_bounded"
#: So many runs of one message may end without settling it; one more is a loop. Celery's own default of max_retries.
MOST_IN_VAIN = 3


def _search(events: Sequence[e.Event]) -> Iterator[Finding]:
    for request, message in retries(events):
        yield from _retry(request, message)
    ledger = Ledger(events)
    for life in ledger.lives:
        in_vain = [run for run in life.runs if run.ended is not None and (not run.complete or run.state == "REJECTED")]
        if len(in_vain) > MOST_IN_VAIN:
            law, incident, why = _reason(life)
            sentence = f"{life.name} began {len(life.runs)} times with retries {life.runs[-1].started.retries}: {why}"
            starts = tuple(run.started for run in life.runs)
            yield Finding(_NAME, sentence, (life.published, *starts), law, incident)


def _reason(life: Life) -> tuple[str, str | None, str]:
    if any(run.state == "REJECTED" for run in life.runs):
        return "S5", "I10", "its task rejects it with requeue"
    if any(isinstance(one, e.Failed) and one.exception == "TimeLimitExceeded" for one in life.told):
        return "S4", "I11", "each run passes its hard time limit and is requeued"
    return "S7", "I8", "each run dies with its process and is requeued"


def _retry(request: e.RetryAsked, message: e.Published) -> Iterator[Finding]:
    name, shown = f"{request.task}[{request.task_id}]", (request, message)
    if message.retries != request.retries + 1:
        sentence = f"{name} was retried after {request.retries} retries with a message that says {message.retries}"
        yield Finding(_NAME, sentence, shown, "S24")
    if request.max_retries is not None and (message.retries or 0) > request.max_retries:
        sentence = f"{name} is retried for the {message.retries}. time, with max_retries {request.max_retries}"
        yield Finding(_NAME, sentence, shown, "S21")


ATTEMPTS_BOUNDED = Invariant(
    _NAME,
    f"no retry beyond max_retries, and no message of which more than {MOST_IN_VAIN} runs end without settling it",
    ("S4", "S5", "S7", "S21", "S24"),
    (
        "max_retries=None has no limit (S21)",
        "runs that a visibility timeout or a lost connection repeats are for nothing_twice (S37, S39)",
        "task_retry_on_worker_lost publishes from the main process, by its own count (S8)",
    ),
    ("I8", "I10", "I11"),
    _search,
)
