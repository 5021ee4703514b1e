"""What must hold after a run: each expectation against the trace, the queues, the stored results and the app's values.

Times are compared to the millisecond: a write to the network takes some microseconds of virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasksim.check import check_trace
from tasksim.scenario.application import value_of
from tasksim.scenario.fitting import placed
from tasksim.scenario.schema import (
    CheckExpectation,
    EventExpectation,
    Expectation,
    QueueExpectation,
    Scenario,
    TaskExpectation,
    ValueExpectation,
)

__all__ = ["Finding", "World", "check"]

_TOLERANCE = 0.001


@dataclass(frozen=True, slots=True)
class Finding:
    """An expectation that does not hold: a sentence, and the line of the scenario."""

    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What a run left behind, while its simulation is still open."""

    app: Any
    trace: Any
    queues: Any


def check(scenario: Scenario, world: World) -> list[Finding]:
    """Whatever does not hold, in the order of the file."""
    findings = []
    for expectation in scenario.expect:
        with placed(scenario, expectation.line):
            findings += [Finding(message, expectation.line) for message in _messages(expectation, world, scenario)]
    return findings


def _messages(expectation: Expectation, world: World, scenario: Scenario) -> Iterator[str]:
    if isinstance(expectation, TaskExpectation):
        yield from _task(expectation, world)
    elif isinstance(expectation, EventExpectation):
        yield from _event(expectation, world, scenario)
    elif isinstance(expectation, QueueExpectation):
        yield from _queue(expectation, world)
    elif isinstance(expectation, CheckExpectation):
        yield from _check(expectation, world)
    else:
        yield from _value(expectation)


def _task(wanted: TaskExpectation, world: World) -> Iterator[str]:
    story = world.trace.of(wanted.task)
    ids = list(dict.fromkeys(event.task_id for event in story.events if getattr(event, "task_id", None)))
    if not ids and _of_none(wanted):
        return
    if not ids:
        yield f"`{wanted.task}`: expected it to be called, but there is no message of it"
        return
    starts = list(story.starts)
    if wanted.starts is not None and len(starts) != wanted.starts:
        yield f"`{wanted.task}`: expected {_times(wanted.starts, 'start')}, found {len(starts)}"
    if wanted.start_times is not None and not _same_times(starts, wanted.start_times):
        yield f"`{wanted.task}`: expected starts at {_seconds(wanted.start_times)}, found {_seconds(starts)}"
    workers = tuple(attempt.worker for attempt in story.attempts)
    if wanted.attempts is not None and workers != wanted.attempts:
        yield f"`{wanted.task}`: expected attempts on {_list(wanted.attempts)}, found {_list(workers)}"
    for task_id in ids:
        yield from _one(wanted, task_id, world)


def _of_none(wanted: TaskExpectation) -> bool:
    """Whether nothing but the absence of starts is expected: it holds of a task that nobody calls."""
    told = [value for value in (wanted.starts, wanted.attempts, wanted.start_times) if value is not None]
    return bool(told) and not any(told) and wanted.state is None and not wanted.has_result


def _one(wanted: TaskExpectation, task_id: str, world: World) -> Iterator[str]:
    name = f"`{wanted.task}`" if wanted.task == task_id else f"`{wanted.task}` ({task_id})"
    if wanted.state is not None:
        state = world.trace.of(task_id).state
        if state != wanted.state:
            yield f"{name}: expected state {wanted.state}, found {state or 'none stored'}"
    if wanted.has_result:
        result = _plain(world.app.AsyncResult(task_id).result)
        if result != _plain(wanted.result):
            yield f"{name}: expected result {wanted.result!r}, found {result!r}"


def _event(wanted: EventExpectation, world: World, scenario: Scenario) -> Iterator[str]:
    count = len(world.trace.where(wanted.event, **scenario.meant(wanted.event, wanted.fields)))
    described = " ".join((wanted.event, *(f"{key}={value}" for key, value in wanted.fields.items())))
    if wanted.count is None and count == 0:
        yield f"expected {described} at least once, found none"
    elif wanted.count is not None and count != wanted.count:
        yield f"expected {described} {_times(wanted.count, 'time')}, found {count}"


def _queue(wanted: QueueExpectation, world: World) -> Iterator[str]:
    row = world.queues.get(wanted.queue)
    if row is None:
        yield f"there is no queue `{wanted.queue}`; there are: {_list(sorted(world.queues))}"
        return
    for field in ("ready", "unacked"):
        number = getattr(wanted, field)
        if number is not None and getattr(row, field) != number:
            yield f"queue `{wanted.queue}`: expected {number} {field}, found {getattr(row, field)}"


def _check(wanted: CheckExpectation, world: World) -> Iterator[str]:
    findings = check_trace(world.trace, *wanted.checks)
    yield from (str(finding) for finding in findings if finding.incident is None or finding.incident != wanted.incident)
    if wanted.incident is not None and all(finding.incident != wanted.incident for finding in findings):
        yield f"expected {_list(wanted.checks)} to find incident {wanted.incident}, which did not happen"


def _value(wanted: ValueExpectation) -> Iterator[str]:
    try:
        value = _plain(value_of(wanted.value))
    except LookupError as error:
        yield f"`{wanted.value}` cannot be evaluated: {error}"
        return
    if value != _plain(wanted.equals):
        yield f"`{wanted.value}`: expected {wanted.equals!r}, found {value!r}"


def _plain(value: Any) -> Any:
    """A value as YAML could have written it: tuples are lists, an exception is its repr."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return repr(value) if isinstance(value, BaseException) else value


def _same_times(found: list[float], wanted: tuple[float, ...]) -> bool:
    return len(found) == len(wanted) and all(
        abs(one - other) <= _TOLERANCE for one, other in zip(found, wanted, strict=True)
    )


def _seconds(times: Any) -> str:
    return _list(f"{round(time, 3):g}" for time in times) + (" s" if times else "")


def _list(words: Any) -> str:
    return ", ".join(str(word) for word in words) or "none"


def _times(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
