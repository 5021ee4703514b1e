"""What became of each message: where it was, who ran it, what the workers said of it. The checks read this."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tasksim import events as e

__all__ = ["LOST", "Ledger", "Life", "Run"]

#: The state of a run whose process died before its end.
LOST = "LOST"


@dataclass(slots=True)
class Run:
    """One execution: its first event, its last (None while it goes on), and what it came to."""

    started: e.Started
    ended: e.Event | None = None
    state: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the task itself came to its end."""
        return self.state not in (None, LOST)


@dataclass(slots=True)
class Life:
    """The life of one message in one queue; `queue` is empty for a message that came into none.

    Attributes:
        ready: whether the queue holds it.
        out: its deliveries that were neither settled nor taken back.
        taken: the last delivery.
        runs: its executions.
        told: what main processes said of it: Failed, Revoked, Expired, Retried, TaskUnknown.
        end: the event that took it away for good, if it was one: Acked, Rejected, Dropped, Returned, ...
        back: its requeueings, each with the run that went on at that time.
    """

    published: e.Published
    queue: str = ""
    ready: bool = False
    out: dict[int, e.Delivered] = field(default_factory=dict)
    taken: e.Delivered | None = None
    runs: list[Run] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    end: e.Event | None = None
    back: list[tuple[e.Requeued, Run | None]] = field(default_factory=list)
    accepted: e.Accepted | None = None
    scheduled: bool = False

    @property
    def waits(self) -> bool:
        """Whether the queue holds it, or somebody who has not settled it."""
        return self.ready or bool(self.out)

    @property
    def is_done(self) -> bool:
        """Whether a run of it came to the task's own end, or goes on."""
        return any(run.complete or run.state is None for run in self.runs)

    @property
    def name(self) -> str:
        """For sentences."""
        return f"{self.published.task}[{self.published.task_id}]"


class Ledger:
    """The lives of all messages that carry a task: one in each queue that a message came into.

    Attributes:
        now: the time of the last event.
        dead: processes that have ended, with the event.
        stopping: workers that were told to stop, with the event.
        workers: all that ever booted.
        published: all published messages, by task id.
        refused: processes that refused a message for what it contained, with the times.
    """

    def __init__(self, events: Iterable[e.Event]) -> None:
        self.now = 0.0
        self._lives: dict[int, dict[str, Life]] = {}
        self.dead: dict[str, e.Event] = {}
        self.stopping: dict[str, e.WorkerStopping] = {}
        self.workers: set[str] = set()
        self.published: dict[str, list[e.Published]] = {}
        self.refused: set[tuple[str, float]] = set()
        self._at: dict[tuple[str, str], dict[tuple[int, str], Life]] = {}
        self._running: dict[tuple[str, str], Run] = {}
        self._unwound: dict[tuple[str, str], Run] = {}
        for event in events:
            self.now = event.time
            read = _READ.get(type(event))
            if read is not None:
                read(self, event)

    @property
    def lives(self) -> list[Life]:
        """All of them, in the order of publishing."""
        return [life for places in self._lives.values() for life in places.values()]

    # --- messages

    def _publish(self, event: e.Published) -> None:
        if event.task is not None and event.task_id is not None:
            self._lives[event.message] = {"": Life(event)}
            self.published.setdefault(event.task_id, []).append(event)

    def _life(self, message: int, queue: str) -> Life | None:
        """The life of a message in a queue, which may begin now; None for a message without a task."""
        places = self._lives.get(message)
        if places is None:
            return None
        life = places.get(queue)
        if life is None:
            nowhere = places.pop("", None)
            published = nowhere.published if nowhere is not None else next(iter(places.values())).published
            life = places[queue] = Life(published, queue)
        return life

    def _queue(self, event: e.Queued | e.Requeued) -> None:
        life = self._life(event.message, event.queue)
        if life is None:
            return
        life.ready, life.end = True, None
        if isinstance(event, e.Requeued):
            life.back.append((event, next((run for run in life.runs if run.state is None), None)))
            life.out.clear()

    def _deliver(self, event: e.Delivered) -> None:
        life = self._life(event.message, event.queue)
        if life is None or event.task_id is None:
            return
        life.ready = False
        life.out[event.delivery] = life.taken = event
        lives = self._at.setdefault((event.process, event.task_id), {})
        lives.pop((event.message, event.queue), None)
        lives[event.message, event.queue] = life

    def _settle(self, event: e.Acked | e.Rejected) -> None:
        life = self._life(event.message, event.queue)
        if life is not None:
            life.out.pop(event.delivery, None)
            life.end = event

    def _leave(self, event: e.Dropped | e.MessageExpired | e.DeadLettered | e.Returned) -> None:
        queue = getattr(event, "queue", None)
        places = self._lives.get(event.message, {})
        life = places.get(queue or "") or places.get("")
        if life is not None:
            life.ready, life.end = False, event
            life.out.clear()

    # --- runs

    def _life_at(self, process: str, task_id: str | None) -> Life | None:
        """The message with this id that was delivered last to the worker of this process."""
        lives = self._at.get((process.partition("/")[0], task_id or ""))
        return next(reversed(lives.values())) if lives else None

    def _life_begun(self, event: e.Started) -> Life | None:
        """The message that this run is of: of several with one id, one of its number that was not run to an end yet."""
        lives = self._at.get((event.process.partition("/")[0], event.task_id), {}).values()
        fits = [life for life in lives if life.published.retries == event.retries]
        fresh = [life for life in fits if not any(run.complete or run.ended is None for run in life.runs)]
        return fresh[0] if fresh else fits[-1] if fits else self._life_at(event.process, event.task_id)

    def _start(self, event: e.Started) -> None:
        life = self._life_begun(event)
        if life is not None:
            run = self._running[event.process, event.task_id] = Run(event)
            life.runs.append(run)

    def _finish(self, event: e.Finished) -> None:
        run = self._running.pop((event.process, event.task_id), None)
        if run is None:
            return
        run.ended, run.state = event, event.state
        if event.state == "UNKNOWN":  # an exception went through Celery itself: the process ends, or a hook failed
            run.state = LOST
            self._unwound[event.process, event.task_id] = run

    def _die(self, event: e.WorkerDown | e.ProcessEnded) -> None:
        process = event.worker if isinstance(event, e.WorkerDown) else event.process
        self.dead[process] = event
        for key in [key for key in self._running if key[0] == process]:
            run = self._running.pop(key)
            run.ended, run.state = event, LOST

    def _boot(self, event: e.WorkerBooting) -> None:
        self.workers.add(event.worker)
        self.dead.pop(event.worker, None)
        self.stopping.pop(event.worker, None)

    def _fork(self, event: e.ProcessStarted) -> None:
        self.dead.pop(event.process, None)

    def _stop(self, event: e.WorkerStopping) -> None:
        self.stopping.setdefault(event.worker, event)

    # --- what is said

    def _tell(self, event: e.Failed | e.Revoked | e.Expired | e.Retried | e.TaskUnknown) -> None:
        here = event.process, event.task_id or ""
        if here in self._running:
            return  # what a run says of itself is told by its end
        if here in self._unwound:
            self._unwound.pop(here).state = "FAILURE"
            return
        lives = list(self._at.get((event.process, event.task_id or ""), {}).values())
        if lives:
            # The message of a retry may be here already when the worker speaks of the one before it.
            silent = (life for life in lives if not life.told and not any(run.complete for run in life.runs))
            next(silent, lives[-1]).told.append(event)

    def _accept(self, event: e.Accepted) -> None:
        life = self._life_at(event.process, event.task_id)
        if life is not None:
            life.accepted = event

    def _schedule(self, event: e.Scheduled) -> None:
        life = self._life_at(event.process, event.task_id)
        if life is not None:
            life.scheduled = True

    def _refuse(self, event: e.TaskRejected) -> None:
        self.refused.add((event.process, event.time))


_READ: dict[type[e.Event], Callable[[Ledger, Any], None]] = {
    e.Published: Ledger._publish,
    e.Queued: Ledger._queue,
    e.Requeued: Ledger._queue,
    e.Delivered: Ledger._deliver,
    e.Redelivered: Ledger._deliver,
    e.Acked: Ledger._settle,
    e.Rejected: Ledger._settle,
    e.Dropped: Ledger._leave,
    e.MessageExpired: Ledger._leave,
    e.DeadLettered: Ledger._leave,
    e.Returned: Ledger._leave,
    e.Started: Ledger._start,
    e.Finished: Ledger._finish,
    e.WorkerDown: Ledger._die,
    e.ProcessEnded: Ledger._die,
    e.WorkerBooting: Ledger._boot,
    e.ProcessStarted: Ledger._fork,
    e.WorkerStopping: Ledger._stop,
    e.Failed: Ledger._tell,
    e.Revoked: Ledger._tell,
    e.Expired: Ledger._tell,
    e.Retried: Ledger._tell,
    e.TaskUnknown: Ledger._tell,
    e.Accepted: Ledger._accept,
    e.Scheduled: Ledger._schedule,
    e.TaskRejected: Ledger._refuse,
}
