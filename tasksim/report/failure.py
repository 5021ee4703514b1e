"""What a failed test says of the task system: what broke there, and the last events of each process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasksim import events as e
from tasksim.check import check_trace
from tasksim.check.base import Finding
from tasksim.check.ledger import Ledger, Life
from tasksim.nearest import nearest
from tasksim.report.text import last_events, summary
from tasksim.trace.lines import short_ids
from tasksim.trace.words import one_line, seconds, words

__all__ = ["MOST_LINES", "Facts", "failure", "what_broke"]

#: Lines of the whole text; what the caller adds comes on top.
MOST_LINES = 56
_MOST_BROKEN = 16
_PER_PROCESS = 6
#: Letters of one line of what broke.
_WIDTH = 400
#: What tells a tired reader nothing.
_DULL = (e.Connected, e.Queued, e.ProcessStarted)
_PROCESS_DIED = "process died"


@dataclass(frozen=True)
class Facts:
    """What a trace does not say.

    Attributes:
        consumers: how many consumers each queue has; None if nobody knows any more.
        tasks: names of the app's tasks.
        places: task id to the place in the user's code where its last error was raised.
        now: virtual seconds since the start; None if only the trace knows.
        notes: sentences on what else did not happen that should have.
        reasons: worker to the error with which it ended.
    """

    consumers: Mapping[str, int] | None = None
    tasks: Sequence[str] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    now: float | None = None
    notes: Sequence[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


def failure(trace: Sequence[e.Event], facts: Facts | None = None) -> str:
    """The text: what broke, how much happened, and the last events of each process; at most `MOST_LINES` lines.

    Args:
        trace: a trace, or any sequence of events.
        facts: what is known besides.
    """
    facts = facts or Facts()
    broken = [*facts.notes, *what_broke(trace, facts)] or [_nothing(trace)]
    if len(broken) > _MOST_BROKEN:
        hidden = len(broken) - _MOST_BROKEN + 1
        broken[_MOST_BROKEN - 1 :] = [f"... and {hidden} more"]
    lines = ["what broke:", *(f"  {_fit(line)}" for line in broken)]
    lines.append(f"in all: {summary(trace).splitlines()[0]}")
    now = facts.now if facts.now is not None else trace[-1].time if len(trace) else 0.0
    lines.append(f"the last events of each process, at {seconds(max(now, 0.0))} s:")
    shown = _telling(trace)
    lines += last_events(shown, per_process=_PER_PROCESS, limit=MOST_LINES - len(lines), whole=trace).splitlines()
    return "\n".join(lines)


def what_broke(trace: Sequence[e.Event], facts: Facts) -> list[str]:
    """A sentence for each thing that went wrong or is not over; none for what ended as it should."""
    ledger, findings = Ledger(trace), check_trace(trace)
    sentences = [
        *_unknown(trace, facts),
        *_failures(trace, facts, {id(event) for finding in findings for event in finding.events}),
        *(_finding(finding) for finding in findings if not _is_unknown(finding)),
        *_refused(trace),
        *_unfinished(ledger, trace, facts),
        *_down(ledger, facts),
    ]
    ids = short_ids(task_id for event in trace if (task_id := getattr(event, "task_id", None)))
    return list(dict.fromkeys(_shortened(sentence, ids) for sentence in sentences))


def _nothing(trace: Iterable[e.Event]) -> str:
    if any(isinstance(event, e.Published) for event in trace):
        return "nothing in the task system: what was published came to its end"
    return "nothing in the task system: no task was published"


def _fit(line: str) -> str:
    line = one_line(line)
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."


def _shortened(sentence: str, ids: Mapping[str, str]) -> str:
    """With short ids, as the events below have them."""
    for task_id, short in ids.items():
        if task_id != short:
            sentence = sentence.replace(task_id, short)
    return sentence


def _telling(trace: Sequence[e.Event]) -> list[e.Event]:
    """Without what is dull, and without the workers' start if anything happened after it."""
    shown = [event for event in trace if not isinstance(event, _DULL) and getattr(event, "reason", "") != _PROCESS_DIED]
    return [event for event in shown if event.time >= 0] or shown


# --- what went wrong


def _unknown(trace: Iterable[e.Event], facts: Facts) -> Iterator[str]:
    for event in trace:
        if isinstance(event, e.TaskUnknown):
            tails = {task.rpartition(".")[2]: task for task in facts.tasks}
            close = nearest(event.task.rpartition(".")[2], tails, likeness=0.75)
            remedy = "is its module imported by the app (include, imports, autodiscover_tasks)?"
            known = f"did you mean {tails[close]}?" if close else remedy
            yield f"{event.task}[{event.task_id}]: {event.process} knows no such task; {known}"


def _failures(trace: Iterable[e.Event], facts: Facts, told: set[int]) -> Iterator[str]:
    retries: dict[str, int] = {}
    for event in trace:
        if isinstance(event, e.Started):
            retries[event.task_id] = event.retries
        elif isinstance(event, e.Failed) and id(event) not in told:
            number = retries.get(event.task_id, 0)
            after = f" after {number} {'retry' if number == 1 else 'retries'}" if number else ""
            place = facts.places.get(event.task_id)
            yield (
                f"{event.task}[{event.task_id}] failed at {seconds(event.time)} s on {event.process}{after}: "
                f"{words(event)[1]}" + (f" ({place})" if place else "")
            )


def _is_unknown(finding: Finding) -> bool:
    """Whether `_unknown` tells it better."""
    return "does not know the task" in finding.sentence


def _finding(finding: Finding) -> str:
    return str(finding)


def _refused(trace: Iterable[e.Event]) -> Iterator[str]:
    for event in trace:
        if isinstance(event, e.TaskRejected):
            yield f"{event.process} could not make a task of a message at {seconds(event.time)} s: {event.reason}"
        elif isinstance(event, e.Expired | e.Revoked):
            how = "expired" if isinstance(event, e.Expired) else "was revoked"
            yield f"{event.task}[{event.task_id}] {how}: {event.process} discarded it at {seconds(event.time)} s"


# --- what is not over


def _unfinished(ledger: Ledger, trace: Iterable[e.Event], facts: Facts) -> Iterator[str]:
    reasons = {event.task_id: event for event in trace if isinstance(event, e.Retried)}
    for life in ledger.lives:
        running = next((run.started for run in life.runs if run.state is None), None)
        if running is not None:
            yield f"{life.name} still runs on {running.process}, since {seconds(running.time)} s"
        elif life.ready:
            yield _waiting(life, facts)
        elif life.out and life.taken is not None and not any(run.complete for run in life.runs):
            yield _taken(life, reasons.get(str(life.published.task_id)))


def _waiting(life: Life, facts: Facts) -> str:
    text = f"{life.name} waits in queue {life.queue}, published at {seconds(life.published.time)} s"
    if facts.consumers is None or facts.consumers.get(life.queue):
        return text
    others = sorted(name for name, count in facts.consumers.items() if count)
    if not others:
        return f"{text}; no worker consumes that queue"
    remedy = ",".join([*others, life.queue])
    return (
        f'{text}; no worker consumes that queue (they consume {", ".join(others)}; with queues="{remedy}" they would)'
    )


def _taken(life: Life, retried: e.Retried | None) -> str:
    assert life.taken is not None
    worker, due = life.taken.process, life.published.due
    if not life.scheduled or due is None:
        return f"{life.name} was delivered to {worker} at {seconds(life.taken.time)} s and has not begun"
    if life.published.retries and retried is not None:
        return (
            f"{life.name} waits in {worker} for retry {life.published.retries}, at {seconds(due)} s: {retried.reason}"
        )
    return f"{life.name} waits in {worker} for its ETA, {seconds(due)} s"


def _down(ledger: Ledger, facts: Facts) -> Iterator[str]:
    for worker in sorted(ledger.workers):
        event = ledger.dead.get(worker)
        if isinstance(event, e.WorkerDown) and (event.signal is not None or event.exitcode):
            reason = f", {facts.reasons[worker]}" if worker in facts.reasons and event.signal is None else ""
            yield f"worker {worker} is down since {seconds(event.time)} s: {words(event)[1]}{reason}"
