"""What differs between the two halves; each rule is a generator of findings of one kind or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tasksim.comparison.calls import written
from tasksim.comparison.half import Half, Run
from tasksim.comparison.hidden import KINDS, Hidden
from tasksim.comparison.surroundings import changed
from tasksim.comparison.values import difference, short
from tasksim.events import (
    Expired,
    Failed,
    MessageExpired,
    Published,
    Received,
    RetryAsked,
    Started,
    TaskUnknown,
)

__all__ = ["LARGE", "differences"]

#: A message body of so many bytes is worth a word.
LARGE = 100_000
#: Seconds that a rate limit has to hold a task back to be worth a word.
HELD_BACK = 0.01

_NOT_SERIALIZED = ("EncodeError", "MaybeEncodingError")
_TIME_LIMITS = ("TimeLimitExceeded", "SoftTimeLimitExceeded")


def differences(eager: Half, real: Half) -> list[Hidden]:
    """All findings, by kind in the order of `KINDS`, then in the order of the calls."""
    found = [hidden for rule in _RULES for hidden in rule(eager, real)]
    order = list(KINDS)
    return sorted(dict.fromkeys(found), key=lambda hidden: order.index(hidden.kind))


def _named(key: tuple[str, int], run: Run) -> str:
    name, number = key
    call = written(name, run.args, run.kwargs) if run.args is not None else name
    return f"{call} (call {number} of this task)" if number > 1 else call


def _hidden(kind: str, key: tuple[str, int], run: Run, sentence: str) -> Hidden:
    return Hidden(kind, key[0], _named(key, run), sentence)


def _pairs(eager: Half, real: Half) -> Iterator[tuple[tuple[str, int], Run, Run]]:
    for key, run in eager.runs.items():
        other = real.runs.get(key)
        if other is not None and run.attempts:
            yield key, run, other


def _error(error: BaseException) -> str:
    return f"{type(error).__name__}: {short(str(error))}" if str(error) else type(error).__name__


# --- the function and its calls


def _function(eager: Half, real: Half) -> Iterator[Hidden]:
    one, other = eager.error, real.error
    if (type(one), str(one)) != (type(other), str(other)):
        says = ["ends well" if error is None else f"ends with {_error(error)}" for error in (one, other)]
        yield Hidden("function", "", "", f"the function {says[0]} in eager mode and {says[1]} in the simulation")


def _calls(eager: Half, real: Half) -> Iterator[Hidden]:
    for one, other in zip(eager.calls, real.calls, strict=False):
        if one.text != other.text:
            return  # the function went another way
        if one.error is not None and type(one.error) is not type(other.error):
            sentence = f"the call raises {_error(one.error)} in eager mode; in life it returns, and the result has it"
            yield Hidden("raised", one.task, one.text, sentence)
        if one.mutated is not None and other.mutated is None:
            before, after = one.mutated
            sentence = f"the task changes the caller's arguments in eager mode, from {before} to {after}"
            yield Hidden("mutated", one.task, one.text, sentence + "; a worker changes its own copy")
        if one.transactions > 0:
            sentence = "it is called inside an open transaction; a worker may start before the commit, and see nothing"
            yield Hidden("transaction", one.task, one.text, sentence + " of it: call it in transaction.on_commit")


# --- whether and how often tasks run


def _ran(eager: Half, real: Half) -> Iterator[Hidden]:
    unknown = {event.task_id for event in real.trace.where(TaskUnknown)}
    for key, run in real.runs.items():
        queue = next((name for name, ids in real.waiting.items() if run.task_id in ids), None)
        if run.task_id in unknown:
            yield _hidden("unknown_task", key, run, f"no worker knows the task {key[0]!r}; its message is thrown away")
        elif not run.attempts and queue is not None:
            yield _hidden("no_consumer", key, run, f"its message waits in queue {queue!r}, from which no worker takes")
        elif run.attempts and key in eager.runs and not eager.runs[key].attempts:
            yield _hidden("never_run", key, run, "sent by name: eager mode publishes it and nobody runs it")


def _redelivered(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, _, run in _pairs(eager, real):
        attempts = [one for one in real.trace.attempts if one.task_id == run.task_id]
        lost = sum(one.state == "LOST" for one in attempts)
        again = sum(one.redelivered for one in attempts)
        if lost or again:
            sentence = f"its process died {lost} times while it ran, and it was delivered again {again} times"
            yield _hidden("redelivery", key, run, sentence + "; in eager mode it ran once")


def _outcome(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        failed = [event for event in real.trace.where(Failed) if event.task_id == other.task_id]
        if not failed or one.state != "SUCCESS":
            continue
        name, text = failed[-1].exception, failed[-1].text
        kind = "time_limit" if name in _TIME_LIMITS else "outcome"
        if name in _NOT_SERIALIZED or "serializable" in text:
            kind = "not_serializable"
        yield _hidden(kind, key, other, f"succeeds in eager mode; a worker ends it with {name}: {text}")


# --- values


def _arguments(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        if not other.attempts:
            continue
        text = difference(list(one.args), list(other.args), "args") or difference(one.kwargs, other.kwargs, "kwargs")
        if text is not None:
            yield _hidden("serialization", key, one, text)


def _results(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        if one.state != "SUCCESS" or other.state != "SUCCESS" or other.stored is None:
            continue
        state, value = other.stored
        if state == "SUCCESS":
            text = difference(one.value, value, "the result")
            if text is not None:
                yield _hidden("serialization", key, one, text)
        elif one.value is not None:
            sentence = f"the result {short(one.value)} is there in eager mode; in life nobody keeps it (ignore_result)"
            yield _hidden("ignored_result", key, one, f"{sentence}, and who waits for it waits for ever")


def _sizes(_: Half, real: Half) -> Iterator[Hidden]:
    for key, run in real.runs.items():
        size = real.sizes.get(run.task_id, 0)
        if size >= LARGE:
            yield _hidden("message_size", key, run, f"its message has {size / 1e6:.1f} MB; eager mode sends none")


# --- time


def _delays(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        published = [event for event in real.trace.where(Published) if event.task_id == other.task_id]
        waits = [event.due - event.time for event in published if event.due is not None and not event.retries]
        if waits and waits[0] > 0:
            yield _hidden(
                "countdown", key, one, f"runs at once in eager mode; a worker waits {waits[0]:g} s for its ETA"
            )
        retries = [event for event in real.trace.where(RetryAsked) if event.task_id == other.task_id]
        delays = [f"{event.delay:g}" for event in retries[: other.attempts - 1] if event.delay > 0]
        if delays:
            sentence = (
                f"was tried {one.attempts} times at one moment in eager mode; a worker waits {', '.join(delays)} s"
            )
            yield _hidden("retry_delay", key, one, sentence)


def _expired(eager: Half, real: Half) -> Iterator[Hidden]:
    gone = {getattr(event, "task_id", None) for kind in (Expired, MessageExpired) for event in real.trace.where(kind)}
    for key, one, other in _pairs(eager, real):
        if other.task_id in gone and not other.attempts:
            yield _hidden("expires", key, one, "runs in eager mode; in life it expires before a worker comes to it")


def _rates(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        received = [event for event in real.trace.where(Received) if event.task_id == other.task_id]
        started = [event for event in real.trace.where(Started) if event.task_id == other.task_id]
        if received and started and received[0].due is None:
            held = started[0].time - received[0].time
            if held >= HELD_BACK and other.limited:
                sentence = f"its rate limit {other.limited} holds it back for {held:g} s; eager mode knows no limit"
                yield _hidden("rate_limit", key, one, sentence)


# --- where a task runs


def _nested(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, _ in _pairs(eager, real):
        if one.within is not None:
            sentence = (
                f"runs within {one.within} in eager mode, before the rest of it; a worker runs it by itself, later"
            )
            yield _hidden("nested", key, one, sentence)


def _requests(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        for name in one.reads.keys() & other.reads.keys():
            mine, theirs = one.reads[name], other.reads[name]
            if mine != theirs:
                sentence = f"it reads request.{name}: {short(mine)} in eager mode, {short(theirs)} in a worker"
                yield _hidden("request", key, one, sentence)


def _contexts(eager: Half, real: Half) -> Iterator[Hidden]:
    for key, one, other in _pairs(eager, real):
        for name, value in changed(eager.baseline, one.sees).items():
            if other.attempts and name in changed(other.sees, {name: value}):
                theirs = short(other.sees[name]) if name in other.sees else "nothing"
                sentence = (
                    f"{name} of the caller is {short(value)} for the task in eager mode, and {theirs} in a worker"
                )
                yield _hidden("context", key, one, sentence)


def _globals(eager: Half, _: Half) -> Iterator[Hidden]:
    for key, run in eager.runs.items():
        for name, value in run.changes.items():
            sentence = (
                f"it changes {name} to {short(value)}, which the caller sees in eager mode; in life it is the pool"
            )
            yield _hidden("process_state", key, run, f"{sentence} process' own")


def _signals(eager: Half, real: Half) -> Iterator[Hidden]:
    for name in sorted(real.signals.keys() - eager.signals.keys()):
        count = real.signals[name]
        sentence = f"{name} has receivers: sent {count} times in the simulation, and never in eager mode"
        yield Hidden("signal", "", "", sentence)


_RULES: tuple[Callable[[Half, Half], Iterator[Hidden]], ...] = (
    _function, _calls, _ran, _outcome, _arguments, _results, _sizes, _delays, _expired, _rates, _redelivered,
    _nested, _requests, _contexts, _globals, _signals,
)  # fmt: skip
