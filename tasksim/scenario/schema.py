"""What a scenario is: plain dataclasses, version 1 of the file format.

All times are virtual seconds since the start of the simulation. `line` is where a thing stands in its file; messages
about it begin there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasksim.events import FIELDS

__all__ = [
    "VERSION",
    "Call",
    "CheckExpectation",
    "EventExpectation",
    "Expectation",
    "Fault",
    "Pattern",
    "QueueExpectation",
    "Scenario",
    "Setup",
    "TaskExpectation",
    "ValueExpectation",
    "Worker",
]

#: The version of the file format that this release reads.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker and how it is started; None leaves a choice to the app."""

    name: str
    concurrency: int | None = None
    queues: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A task that the client publishes, once or `repeat` times with `every` seconds between.

    A repeated call with an `id` publishes `id-1`, `id-2` and so on.
    """

    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    at: float = 0.0
    countdown: float | None = None
    expires: float | None = None
    queue: str | None = None
    priority: int | None = None
    repeat: int = 1
    every: float = 0.0
    line: int = 0

    @property
    def times(self) -> tuple[float, ...]:
        """When it is published."""
        return tuple(self.at + number * self.every for number in range(self.repeat))

    @property
    def ids(self) -> tuple[str | None, ...]:
        """The task ids, one for each time; None where Celery makes one up."""
        if self.repeat == 1 or self.id is None:
            return (self.id,) * self.repeat
        return tuple(f"{self.id}-{number}" for number in range(1, self.repeat + 1))


@dataclass(frozen=True, slots=True)
class Pattern:
    """The `nth` event of a kind whose fields equal `fields`."""

    event: str
    nth: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: `kind` is a method of `Simulation`, `options` its arguments; one of `at` and `when` is set."""

    kind: str
    options: Mapping[str, Any]
    at: float | None = None
    when: Pattern | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """A function, by its dotted name, that the client calls before anything else happens."""

    call: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, slots=True)
class TaskExpectation:
    """What must have become of one call (by its id) or of all messages of a task (by its name)."""

    task: str
    state: str | None = None
    starts: int | None = None
    attempts: tuple[str, ...] | None = None
    start_times: tuple[float, ...] | None = None
    result: Any = None
    has_result: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class EventExpectation:
    """How often an event must have happened; None means at least once."""

    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class QueueExpectation:
    """What must be left in a queue."""

    queue: str
    ready: int | None = None
    unacked: int | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class ValueExpectation:
    """What a module's attribute, given by its dotted name, must equal after the run."""

    value: str
    equals: Any
    line: int = 0


@dataclass(frozen=True, slots=True)
class CheckExpectation:
    """Checks that must find nothing; with `incident` they must find that one, and nothing else."""

    checks: tuple[str, ...]
    incident: str | None = None
    line: int = 0


Expectation = TaskExpectation | EventExpectation | QueueExpectation | ValueExpectation | CheckExpectation


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole story.

    `file` is the path as the user gave it; the app is looked for in its folder first. `sha256` is that of its text.
    """

    app: str
    file: str = ""
    version: int = VERSION
    title: str = ""
    description: str = ""
    seed: int = 0
    start: datetime | None = None
    broker: str | None = None
    backend: str | None = None
    rabbitmq: str | None = None
    redis: str | None = None
    redis_config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    workers: tuple[Worker, ...] = (Worker("w1"),)
    beat: bool = False
    setup: tuple[Setup, ...] = ()
    calls: tuple[Call, ...] = ()
    faults: tuple[Fault, ...] = ()
    until: float | None = None
    expect: tuple[Expectation, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    sha256: str = ""

    def line_of(self, key: str) -> int | None:
        """The line of a top-level key, or None if it was left out."""
        return self.lines.get(key)

    @property
    def ids(self) -> list[str]:
        """The ids that the scenario gives its calls."""
        return [name for call in self.calls for name in call.ids if name is not None]

    def meant(self, event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an event as they are compared: a `task` that is the id of a call means that call."""
        meant = dict(fields)
        if meant.get("task") in self.ids and "task_id" not in meant and "task_id" in FIELDS[event]:
            meant["task_id"] = meant.pop("task")
        return meant
