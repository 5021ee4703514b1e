"""What a trace says of one task: its events, its attempts, the states that were stored.

The index reads each event once, whenever somebody asks, so a question costs what its answer is long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tasksim.events import (
    Delivered,
    Event,
    Finished,
    ProcessEnded,
    Published,
    Started,
    StateStored,
    WorkerDown,
)
from tasksim.trace.pattern import attribute, identity, worker_of

__all__ = ["LOST", "Attempt", "Index", "TaskTrace"]

#: The state of an attempt whose process died.
LOST = "LOST"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a task, as known when it was asked for.

    `started` and `ended` are virtual seconds since the start; `ended` and `state` are None while it runs. `state` is
    what the run came to ("SUCCESS", "FAILURE", "RETRY", ...), or "LOST" if its process died before the end.
    """

    task_id: str
    task: str
    worker: str
    process: str
    started: float
    ended: float | None
    state: str | None
    retries: int
    redelivered: bool
    delivery: int | None


@dataclass(frozen=True, slots=True, repr=False)
class TaskTrace:
    """What became of one call, or of all calls of one task, as known when it was asked for."""

    name: str
    events: list[Event]
    attempts: list[Attempt]

    @property
    def starts(self) -> list[float]:
        """When each attempt began, in virtual seconds since the start."""
        return [attempt.started for attempt in self.attempts]

    @property
    def delays(self) -> list[float]:
        """Seconds between each start and the next, to the nanosecond."""
        return [round(later - earlier, 9) for earlier, later in pairwise(self.starts)]

    @property
    def states(self) -> list[str]:
        """The states that were written to the result backend, in order."""
        return [event.state for event in self.events if isinstance(event, StateStored)]

    @property
    def state(self) -> str | None:
        """The state that was written last; None if none was."""
        return states[-1] if (states := self.states) else None

    @property
    def deliveries(self) -> list[Delivered]:
        """Each handing-over of a message to a consumer, redeliveries included."""
        return [event for event in self.events if isinstance(event, Delivered)]

    @property
    def published(self) -> list[float]:
        """When each message was published, in virtual seconds since the start."""
        return [event.time for event in self.events if isinstance(event, Published)]

    def __repr__(self) -> str:
        ran = ", ".join(f"{a.state or 'running'} on {a.process}" for a in self.attempts) or "never ran"
        return f"<TaskTrace {self.name}: {len(self.events)} events; {ran}; stored state {self.state}>"


class Index:
    """Where in a growing list of events each task's events are, and every attempt so far.

    Args:
        events: the list; it may grow, and nothing else may happen to it.
    """

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._read = 0
        self._of_id: dict[str, list[int]] = {}
        self._ids_of_task: dict[str, dict[str, None]] = {}
        self._name_of_id: dict[str, str] = {}
        self._without_id: dict[str, list[int]] = {}
        self._attempts: list[Attempt] = []
        self._attempts_of_id: dict[str, list[int]] = {}
        self._open: dict[str, list[int]] = {}

    def attempts(self) -> list[Attempt]:
        """All attempts, in the order in which they began."""
        self._catch_up()
        return list(self._attempts)

    def task_name(self, task_id: str) -> str | None:
        """The name of the task with this id; None if no event says."""
        self._catch_up()
        return self._name_of_id.get(task_id)

    def of(self, target: object) -> TaskTrace:
        """What became of a target.

        Args:
            target: a result, a group's result (all of its members), a task's id, a task, or a task's name.

        Raises:
            UsageError: it is none of these.
        """
        self._catch_up()
        results = attribute(target, "results")
        if isinstance(results, Sequence) and not isinstance(target, str):
            return self._of_ids(str(getattr(target, "id", None) or "group"), _members(results))
        field, value = identity(target)
        if field == "task_id" or value in self._of_id:
            return self._of_ids(value, [value])
        return self._of_task(value)

    def _of_ids(self, name: str, ids: Iterable[str]) -> TaskTrace:
        ids = list(dict.fromkeys(ids))
        places = sorted(place for task_id in ids for place in self._of_id.get(task_id, ()))
        ran = sorted(place for task_id in ids for place in self._attempts_of_id.get(task_id, ()))
        return TaskTrace(name, [self._events[place] for place in places], [self._attempts[place] for place in ran])

    def _of_task(self, task: str) -> TaskTrace:
        places = list(self._without_id.get(task, ()))
        ran: list[int] = []
        for task_id in self._ids_of_task.get(task, ()):
            places += self._of_id[task_id]
            ran += self._attempts_of_id.get(task_id, ())
        events = (self._events[place] for place in sorted(places))
        attempts = (self._attempts[place] for place in sorted(ran))
        # Two tasks may have been given the same id: what names the other one is not ours.
        return TaskTrace(
            task,
            [event for event in events if getattr(event, "task", None) in (task, None)],
            [attempt for attempt in attempts if attempt.task == task],
        )

    def _catch_up(self) -> None:
        events = self._events
        for place in range(self._read, len(events)):
            event = events[place]
            task_id = getattr(event, "task_id", None)
            task = getattr(event, "task", None)
            if task_id is not None:
                self._of_id.setdefault(task_id, []).append(place)
                if task is not None:
                    self._ids_of_task.setdefault(task, {})[task_id] = None
                    self._name_of_id.setdefault(task_id, task)
            elif task is not None:
                self._without_id.setdefault(task, []).append(place)
            if isinstance(event, Started):
                self._begin(event)
            elif isinstance(event, Finished):
                self._finish(event)
            elif isinstance(event, ProcessEnded | WorkerDown):
                # A worker's main process may die before its pool processes: each ends what ran in itself.
                self._lose(event.worker if isinstance(event, WorkerDown) else event.process, event.time)
        self._read = len(events)

    def _begin(self, event: Started) -> None:
        place = len(self._attempts)
        self._attempts.append(
            Attempt(
                task_id=event.task_id,
                task=event.task,
                worker=worker_of(event.process),
                process=event.process,
                started=event.time,
                ended=None,
                state=None,
                retries=event.retries,
                redelivered=event.redelivered,
                delivery=event.delivery,
            )
        )
        self._attempts_of_id.setdefault(event.task_id, []).append(place)
        self._open.setdefault(event.process, []).append(place)

    def _finish(self, event: Finished) -> None:
        running = self._open.get(event.process, [])
        for place in running:
            if self._attempts[place].task_id == event.task_id:
                running.remove(place)
                self._attempts[place] = replace(self._attempts[place], ended=event.time, state=event.state)
                return

    def _lose(self, process: str, time: float) -> None:
        for place in self._open.pop(process, ()):
            self._attempts[place] = replace(self._attempts[place], ended=time, state=LOST)


def _members(results: Sequence[object]) -> list[str]:
    found: list[str] = []
    for result in results:
        inner = getattr(result, "results", None)
        found += _members(inner) if isinstance(inner, Sequence) else [identity(result)[1]]
    return found
