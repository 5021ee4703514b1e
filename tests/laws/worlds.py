"""One small world for each case: an app with programmable tasks, its workers, and what the bodies saw."""

from __future__ import annotations

import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject

from tasksim import Simulation
from tasksim.events import Event, ProcessEnded, Published, Redelivered, Requeued, Started, WorkerDown
from tasksim.limits import Limits
from tests.laws import statistics

URLS = {"amqp": "amqp://", "redis": "redis://127.0.0.1:6379/0"}
MEMORY, REDIS = "cache+memory://", "redis://127.0.0.1:6380/1"
#: What the clock shows at the start.
START = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
QUEUE = "celery"
#: A mutant may repeat a message for ever; what is right needs a small part of this.
LIMITS = Limits(idle=600.0, stuck=2000.0, steps=300_000, deliveries=60, block=20.0)
#: Loggers that speak of each fault.
LOUD = ("celery", "multiprocessing", "kombu")
#: Most virtual seconds that a case may take.
MOST = 3_000.0
#: A task that runs more often than this hangs: what repeats a message for ever is found out in little time.
MOST_RUNS = 80


class Trouble(Exception):
    """What bodies fail with."""


class OtherTrouble(Exception):
    """What bodies fail with when they are told to fail otherwise."""


class CloseTrouble(OtherTrouble):
    """A special kind of it."""


class Plain:
    """Prints only what is not as usual."""

    def __repr__(self) -> str:
        usual = type(self)()
        told = [f"{one.name}={value!r}" for one in fields(self)  # type: ignore[arg-type]
                if (value := getattr(self, one.name)) != getattr(usual, one.name)]  # fmt: skip
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, repr=False)
class Setup(Plain):
    """The world of a case.

    Attributes:
        slots: pool processes of each worker.
        prefetch: the multiplier.
        by_task: whether to ack late is an option of the tasks, and the setting says the opposite.
    """

    broker: str = "amqp"
    late: bool = False
    workers: int = 1
    slots: int = 1
    prefetch: int = 4
    seed: int = 0
    by_task: bool = False


@dataclass(frozen=True, repr=False)
class Turn(Plain):
    """What one run of a task does: sleep, then end in this way.

    Attributes:
        end: "ok", "raise", "other", "close", "retry", "ignore", "reject", "requeue", "exit", "unstorable".
        options: arguments of `self.retry`.
    """

    end: str = "ok"
    seconds: float = 1.0
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(slots=True)
class Note(Event):
    """What a body said: `what` is "begin" or "end", or the name of a hook; `seen` is its request at the beginning."""

    task_id: str
    what: str
    seen: dict[str, Any] = field(default_factory=dict)


SEEN = (
    "id", "root_id", "parent_id", "group", "chord", "chain", "retries", "eta", "expires", "timelimit", "headers",
    "delivery_info", "callbacks", "errbacks", "ignore_result", "args", "kwargs", "is_eager", "called_directly",
    "correlation_id", "group_index", "shadow", "reply_to", "stamps", "stamped_headers",
)  # fmt: skip


class Hooked(Task):  # type: ignore[misc]
    """A task with every hook; those in `broken` fail."""

    abstract = True
    broken: tuple[str, ...] = ()
    told: list[tuple[str, str, str]] = []  # noqa: RUF012

    def _hook(self, name: str, task_id: str, detail: object = "") -> None:
        self.told.append((name, task_id, str(detail)))
        if name in self.broken:
            raise OtherTrouble(name)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self._hook("before_start", task_id)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self._hook("on_success", task_id, retval)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._hook("on_failure", task_id, type(exc).__name__)

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._hook("on_retry", task_id, type(exc).__name__)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._hook("after_return", task_id, status)


class World:
    """A running simulation with tasks whose runs are told in advance.

    Use as a context manager; `app`, `sim`, `trace` and `told` (hooks: name, id, detail) are for laws to look at.
    """

    def __init__(self, setup: Setup, *, backend: str = MEMORY, options: dict[str, Any] | None = None,
                 worker: dict[str, Any] | None = None, **settings: Any) -> None:  # fmt: skip
        self.setup = setup
        self.app = Celery("laws", broker=URLS[setup.broker], backend=backend, set_as_current=False)
        self.app.conf.update(
            broker_connection_retry_on_startup=True, worker_prefetch_multiplier=setup.prefetch,
            task_acks_late=setup.late != setup.by_task, **settings,
        )  # fmt: skip
        self.turns: dict[str, list[Turn]] = {}
        self.runs: Counter[str] = Counter()
        self.told: list[tuple[str, str, str]] = []
        self.bodies: list[tuple[int, Note]] = []
        workers: Any = {f"w{n + 1}": dict(worker or {}) for n in range(setup.workers)}
        options = {"concurrency": setup.slots, "seed": setup.seed, "limits": LIMITS, **(options or {})}
        self.sim = Simulation(self.app, workers=workers, **options)
        self.count = 0

    def __enter__(self) -> World:
        self._levels = {name: logging.getLogger(name).level for name in LOUD}
        for name in LOUD:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self.sim.__enter__()
        self.trace = self.sim.trace
        return self

    def __exit__(self, *error: Any) -> None:
        self.sim.__exit__(*error)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        statistics.tell(tags(self.trace))

    # --- tasks and calls

    def task(self, name: str = "act", base: type[Task] = Hooked, **options: Any) -> Any:
        """A task whose runs are told by its calls."""

        def act(task: Any, *args: Any, **kwargs: Any) -> Any:
            return self._act(task)

        options.setdefault("bind", True)
        if self.setup.by_task:
            options.setdefault("acks_late", self.setup.late)
        made = self.app.task(name=name, base=base, shared=False, **options)(act)
        if base is Hooked:
            made.told = self.told
        return made

    def plan(self, task_id: str, *turns: Turn) -> str:
        """What the runs of this id do, the last of them again and again."""
        self.turns[task_id] = list(turns) or [Turn()]
        return task_id

    def call(self, task: Any, *turns: Turn, task_id: str | None = None, args: Any = (), **options: Any) -> Any:
        """Publish a call whose runs are these."""
        self.count += 1
        task_id = self.plan(task_id or f"t{self.count}", *turns)
        return task.apply_async(args, options.pop("kwargs", None), task_id=task_id, **options)

    def _act(self, task: Any) -> Any:
        request, position = task.request, len(self.trace)
        process = self.sim.current_process.name
        seen = {name: getattr(request, name, None) for name in SEEN}
        self.bodies.append((position, Note(self.sim.now, process, request.id, "begin", seen)))
        turns = self.turns.get(request.id) or [Turn()]
        turn = turns[min(self.runs[request.id], len(turns) - 1)]
        self.runs[request.id] += 1
        time.sleep(turn.seconds if self.runs[request.id] <= MOST_RUNS else 2 * MOST)
        self.bodies.append((len(self.trace), Note(self.sim.now, process, request.id, "end")))
        return self._end(task, turn)

    def _end(self, task: Any, turn: Turn) -> Any:
        trouble = f"run {self.runs[task.request.id]}"
        endings: dict[str, Callable[[], Any]] = {
            "ignore": Ignore, "reject": lambda: Reject(trouble, requeue=False),
            "requeue": lambda: Reject(trouble, requeue=True), "raise": lambda: Trouble(trouble),
            "other": lambda: OtherTrouble(trouble), "close": lambda: CloseTrouble(trouble),
            "exit": lambda: SystemExit(3),
        }  # fmt: skip
        if turn.end == "retry":
            self._retry(task, dict(turn.options))
        if turn.end == "unstorable":
            return object()
        if turn.end in endings:
            raise endings[turn.end]()
        return trouble

    def _retry(self, task: Any, options: dict[str, Any]) -> None:
        """Retry with these arguments; `eta_in` is an eta so many seconds ahead, `inside` is within an except block."""
        if "eta_in" in options:
            options["eta"] = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=options.pop("eta_in"))
        if not options.pop("inside", False):
            task.retry(**options)
            return  # it was told not to throw
        try:
            raise OtherTrouble("inside")
        except OtherTrouble:
            task.retry(**options)

    def kill_children(self, task_id: str, count: int, after: float = 0.25) -> None:
        """Kill the pool process of each of the first runs of a task, so long after it began."""

        def look(event: Started) -> None:
            if event.task_id == task_id and sum(one.task_id == task_id for one in self.trace.where(Started)) <= count:
                self.sim.kill(task=task_id, at=self.sim.now + after)

        self.trace.subscribe(Started, look)

    # --- the end

    def run(self) -> None:
        """Until nothing is left to do, and the end of each lost pool process has been noticed."""
        seen = 0
        while True:
            self.sim.run(limit=MOST)
            new, seen = self.trace[seen:], len(self.trace)
            if not any(isinstance(event, ProcessEnded) and event.signal for event in new):
                return
            self.sim.advance(6.0)

    def begins(self, task_id: str) -> list[Note]:
        """What each of its bodies saw when it began."""
        return [note for _, note in self.bodies if note.task_id == task_id and note.what == "begin"]

    def starts(self, task_id: str) -> list[float]:
        """When they began, to the hundredth of a second."""
        return [round(note.time, 2) for note in self.begins(task_id)]

    def left(self) -> tuple[int, int]:
        """Messages in all the queues of tasks: ready, unacknowledged."""
        rows = [row for row in self.sim.queues.values() if "pidbox" not in row.name and "celeryev" not in row.name]
        return sum(row.ready for row in rows), sum(row.unacked for row in rows)

    def result(self, task_id: str) -> Any:
        """Its result, as another process would see it."""
        return self.app.AsyncResult(task_id)


def tags(trace: Any) -> set[str]:
    """What of kills, redeliveries and retries a trace has."""
    found = set()
    for event in trace:
        if isinstance(event, (ProcessEnded, WorkerDown)) and (event.signal or event.exitcode not in (0, None)):
            found.add("kill")
        elif isinstance(event, (Redelivered, Requeued)):
            found.add("redelivery")
        elif isinstance(event, Published) and event.retries:
            found.add("retry")
    return found


def instant(seconds: float) -> datetime.datetime:
    """What the clock shows so many seconds after the start."""
    return START + datetime.timedelta(seconds=seconds)
