"""Nothing lost: each message still waits somewhere, or its task came to an end of its own, or was asked to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import filterfalse

from tasksim import events as e
from tasksim.check.base import Finding, Invariant, seconds
from tasksim.check.ledger import Ledger, Life

__all__ = ["NOTHING_LOST"]

_NAME = "nothing_lost"
#: Reasons of `Dropped` that nobody asked for; the others (a purge, a limit of the queue) somebody did.
_UNASKED = ("unroutable", "server restarted", "failover", "evicted")
#: Reasons of what was on its way from a list to a consumer that ended.
_POPPED = ("popped and never read", "popped and never noted")


def _search(events: Sequence[e.Event]) -> Iterator[Finding]:
    ledger = Ledger(events)
    for life in filterfalse(lambda life: life.waits, ledger.lives):
        if life.end is None:
            if not life.queue:
                incident = "I33" if life.published.exchange else None
                yield _finding(life, "was published and put into no queue", "S41", incident)
        elif isinstance(life.end, e.Dropped):
            if life.is_done:
                continue  # it was with a worker meanwhile
            if life.end.reason in _POPPED:
                yield _finding(life, f"was {life.end.reason}: its consumer, or the connection, ended", "S39", "I31")
            elif life.end.reason in _UNASKED:
                yield _finding(life, f"was dropped by the broker: {life.end.reason}", "S41", None)
        elif isinstance(life.end, e.Acked | e.Rejected) and _consumed(life, ledger):
            yield from _settled(life, ledger)


def _consumed(life: Life, ledger: Ledger) -> bool:
    """Whether a worker, and not some other program, took it."""
    return life.taken is not None and life.taken.process in ledger.workers


def _settled(life: Life, ledger: Ledger) -> Iterator[Finding]:
    """It is acknowledged or rejected for good: then something must have become of it."""
    if life.is_done:
        return
    told = life.told
    if any(isinstance(one, e.TaskUnknown) for one in told):
        yield _finding(life, "was discarded by a worker that does not know the task", "S10", "I69")
    elif any(isinstance(one, e.Expired | e.Revoked) for one in told):
        return
    elif any(isinstance(one, e.Retried) for one in told):
        if not _published_again(life, ledger):
            yield _finding(life, "was cancelled and marked RETRY, and nobody retries it", "S20", "I59")
    elif any(isinstance(one, e.Failed) for one in told):
        yield from _failed(life, ledger)
    elif life.runs:
        yield _killed(life, ledger)
    else:
        yield from _never_ran(life, ledger)


def _published_again(life: Life, ledger: Ledger) -> bool:
    published = life.published
    later = ledger.published[str(published.task_id)]
    return any(one.message > published.message and (one.retries or 0) > (published.retries or 0) for one in later)


def _failed(life: Life, ledger: Ledger) -> Iterator[Finding]:
    failed = next(one for one in life.told if isinstance(one, e.Failed))
    if failed.exception != "WorkerLostError" or _was_retried(life, ledger):
        return
    early = _acked_early(life)
    sentence = "was cut off with its pool process and will not run again; FAILURE is stored"
    yield _finding(life, sentence, "S7", "I6" if early else "I7", failed)


def _was_retried(life: Life, ledger: Ledger) -> bool:
    """Whether lost processes are retried: a main process published it (task_retry_on_worker_lost)."""
    return bool(life.published.retries) and life.published.process in ledger.workers


def _acked_early(life: Life) -> bool:
    ended = life.runs[-1].ended if life.runs else None
    return life.end is not None and (ended is None or life.end.time < ended.time)


def _killed(life: Life, ledger: Ledger) -> Finding:
    run = life.runs[-1]
    worker = run.started.process.partition("/")[0]
    ended = run.ended.time if run.ended is not None else run.started.time
    if worker in ledger.stopping:
        sentence = f"ran when {worker} was killed at {seconds(ended)} s in its warm stop, and will not run again"
        return _finding(life, sentence, "S1", "I58")
    sentence = f"ran on {worker} when that was killed at {seconds(ended)} s; acknowledged, it will not run again"
    return _finding(life, sentence, "S1", "I6")


def _never_ran(life: Life, ledger: Ledger) -> Iterator[Finding]:
    taken, end = life.taken, life.end
    assert taken is not None
    assert end is not None
    if life.accepted is not None:
        gone = ledger.dead.get(taken.process) or ledger.dead.get(life.accepted.child)
        if gone is not None and gone.time <= life.accepted.time:
            yield _finding(life, f"was acknowledged and never began: {life.accepted.child} died", "S1", "I6")
        elif ledger.now > life.accepted.time:
            yield _finding(life, f"was acknowledged, and {life.accepted.child} could not begin it", "S10", "I73")
    elif isinstance(end, e.Rejected) or (end.process, end.time) in ledger.refused:
        yield _finding(life, f"was refused by {taken.process} for what it contains", "S10", "I69")
    else:
        yield _finding(life, f"was acknowledged by {taken.process}, which could not read it", "S10", "I73")


def _finding(life: Life, sentence: str, law: str, incident: str | None, *more: e.Event) -> Finding:
    runs = [event for run in life.runs for event in (run.started, run.ended)]
    events = [life.published, life.taken, life.accepted, *runs, life.end, *more]
    shown = sorted((event for event in events if event is not None), key=lambda event: event.time)
    return Finding(_NAME, f"{life.name} {sentence}", tuple(shown), law, incident)


NOTHING_LOST = Invariant(
    _NAME,
    "each message of a task waits in a queue or with a worker, or its task came to an end of its own",
    ("S1", "S2", "S3", "S7", "S10", "S20", "S39", "S41", "S42", "S43"),
    (
        "it has expired (S32), or was revoked (S6, S19)",
        "it passed its hard time limit: killed as asked for (S18)",
        "task_retry_on_worker_lost has used up max_retries (S8)",
        "Reject(requeue=False), a failure that rejects, a dead letter: asked for (S4, S5)",
        "a purge, a deleted queue, a queue's own limit: asked for",
    ),
    ("I6", "I7", "I31", "I33", "I58", "I59", "I69", "I73"),
    _search,
)
