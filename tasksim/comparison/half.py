"""One half of a comparison: the function is called, and what its calls and their tasks do is noted."""

from __future__ import annotations

import contextlib
import contextvars
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import celery.signals
import kombu.exceptions
import kombu.serialization
from celery.backends.base import DisabledBackend

from tasksim.comparison import calls as calling
from tasksim.comparison import surroundings
from tasksim.comparison.calls import Called
from tasksim.comparison.values import kept
from tasksim.events import Published
from tasksim.patching.table import Patches
from tasksim.simulation import Simulation
from tasksim.trace.log import Trace

_dumps: Any = kombu.serialization.dumps

__all__ = ["Half", "Run", "observe"]


@dataclass(slots=True)
class Run:
    """One task that ran, or was meant to, with all its attempts.

    Attributes:
        args, kwargs: what arrived at the first attempt, copied before the body began.
        attempts: how often the body began.
        state, value: how the last attempt ended, as Celery's task_postrun has it.
        stored: what the caller's result says in the end: a state and a value; None if nobody can ask.
        within: the name of the task in whose body this one ran.
        sees: context variables and thread-locals at the first attempt.
        changes: globals that the body has changed.
        reads: fields of the request that the body looked at.
        limited: the task's rate limit.
    """

    task: str
    task_id: str
    args: Any = None
    kwargs: Any = None
    attempts: int = 0
    state: str | None = None
    value: Any = None
    stored: tuple[str, Any] | None = None
    within: str | None = None
    sees: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, Any] = field(default_factory=dict)
    limited: str | float | None = None


@dataclass(slots=True)
class Half:
    """What was noted.

    Attributes:
        runs: by the task's name and which of its calls this is, counted from 1.
        baseline: context variables and thread-locals before the function began.
        error: what the function ended with.
        signals: how often each signal was sent to which the user has connected receivers.
        sizes: bytes of the body of each message, by task id.
        waiting: queues that hold messages and have no consumer, and the ids of their tasks.
    """

    trace: Trace
    calls: list[Called]
    runs: dict[tuple[str, int], Run] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    signals: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, set[str]] = field(default_factory=dict)


class _Observer:
    """Receives Celery's signals while a half runs."""

    def __init__(self, app: Any, *, watch_globals: bool) -> None:
        self._modules = {task.__module__ for task in app.tasks.values()}
        self._serializer, self._watch_globals = app.conf.task_serializer, watch_globals
        self.runs: dict[str, Run] = {}
        self.sizes: dict[str, int] = {}
        self.signals: Counter[str] = Counter()
        self._bodies: list[tuple[str, dict[str, Any]]] = []
        self._connected: list[tuple[Any, Callable[..., None]]] = []
        for name in _heard_signals():
            self._connect(name, self._counter(name))
        self._connect("task_prerun", self._begin)
        self._connect("task_postrun", self._end)
        self._connect("after_task_publish", self._published)

    def _connect(self, name: str, receiver: Callable[..., None]) -> None:
        signal = getattr(celery.signals, name)
        signal.connect(receiver, weak=False)
        self._connected.append((signal, receiver))

    def disconnect(self) -> None:
        for signal, receiver in self._connected:
            signal.disconnect(receiver)

    def _counter(self, name: str) -> Callable[..., None]:
        def count(**_: Any) -> None:
            self.signals[name] += 1

        return count

    def visible(self) -> dict[str, Any]:
        return surroundings.visible(self._modules)

    def _begin(self, task_id: str, task: Any, args: Any, kwargs: Any, **_: Any) -> None:
        run = self.runs.setdefault(task_id, Run(task.name, task_id, limited=task.rate_limit))
        if not run.attempts:
            run.args, run.kwargs, run.sees = kept(tuple(args or ())), kept(dict(kwargs or {})), self.visible()
        run.attempts += 1
        if self._bodies and self._bodies[-1][0] != task_id:
            run.within = self.runs[self._bodies[-1][0]].task
        self._bodies.append((task_id, surroundings.globals_of(task) if self._watch_globals else {}))

    def _end(self, task_id: str, task: Any, retval: Any, state: str, **_: Any) -> None:
        run = self.runs[task_id]
        run.state, run.value = state, kept(retval)
        for position in range(len(self._bodies) - 1, -1, -1):
            if self._bodies[position][0] == task_id:
                before = self._bodies.pop(position)[1]
                if self._watch_globals:
                    run.changes |= surroundings.changed(before, surroundings.globals_of(task))
                break

    def _published(self, headers: Any, body: Any, **_: Any) -> None:
        task_id = (headers or {}).get("id")
        if task_id is not None:
            with contextlib.suppress(kombu.exceptions.EncodeError):  # this one has a serializer of its own
                self.sizes[task_id] = len(_dumps(body, self._serializer)[2])


def _heard_signals() -> list[str]:
    """Names of Celery's signals to which the user has connected receivers."""
    return [name for name in celery.signals.__all__ if any(map(_is_users, _receivers(getattr(celery.signals, name))))]


def _receivers(signal: Any) -> list[Any]:
    return list(signal._live_receivers(None)) if signal.receivers else []


def _is_users(receiver: Any) -> bool:
    return not str(getattr(receiver, "__module__", "")).startswith(("celery.", "kombu.", "tasksim."))


def observe(app: Any, function: Callable[[], object], *, eager: bool, options: Mapping[str, Any]) -> Half:
    """Call the function in a simulation in which Celery's eager mode holds, or in which workers run its tasks."""
    chosen = {"mode": "eager", **options}
    if eager:
        chosen |= {"mode": "broker", "workers": 0, "beat": False}
    chosen["settings"] = {**(options.get("settings") or {}), "task_always_eager": eager}
    app.finalize()
    observer, patches = _Observer(app, watch_globals=eager), Patches()
    reads, calls = surroundings.Reads(), calling.Calls()
    try:
        with Simulation(app, **chosen) as sim:
            sim.advance(0)  # the workers know nothing of what the function does to its context
            try:
                patches.install(surroundings.ROWS, reads)
                patches.install(calling.ROWS, calls)
                half = Half(sim.trace, calls.made, baseline=observer.visible(), signals=observer.signals)
                half.sizes = observer.sizes
                half.error = contextvars.copy_context().run(_ended_with, function)
                if not eager:
                    sim.run()
                    half.waiting = _waiting(sim)
            finally:
                patches.restore()  # before the simulation puts back what is below
            _note_runs(half, app, observer.runs, reads, eager=eager)
    finally:
        observer.disconnect()
    return half


def _ended_with(function: Callable[[], object]) -> BaseException | None:
    try:
        function()
    except Exception as error:
        return error
    return None


def _waiting(sim: Simulation) -> dict[str, set[str]]:
    idle = {name for name, row in sim.queues.items() if row.ready and not row.consumers}
    return {
        name: {event.task_id for event in sim.trace.where("Queued", queue=name) if event.task_id}  # type: ignore[attr-defined]
        for name in sorted(idle)
    }


def _note_runs(half: Half, app: Any, runs: dict[str, Run], reads: surroundings.Reads, *, eager: bool) -> None:
    """Number the runs of each task in the order of their calls."""
    for event in half.trace.where(Published):
        if event.task_id is not None and event.task is not None and not (eager and event.task_id in runs):
            runs.setdefault(event.task_id, Run(event.task, event.task_id))
    order = {event.task_id: index for index, event in reversed(list(enumerate(half.trace.where(Published))))}
    numbers: Counter[str] = Counter()
    for task_id in list(runs) if eager else sorted(runs, key=lambda one: order.get(one, len(order))):
        run = runs[task_id]
        numbers[run.task] += 1
        run.reads = reads.seen.get(task_id, {})
        # What has run in the caller (`apply`) has no message, and stores nothing in life either.
        if task_id in order and not eager and not isinstance(app.backend, DisabledBackend):
            result = app.AsyncResult(task_id)
            run.stored = result.state, kept(result.result)
        half.runs[run.task, numbers[run.task]] = run
