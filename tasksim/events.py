"""The vocabulary of the trace: one class for each thing that can happen to a message, a task or a process.

Every event has `time`, virtual seconds since the start of the simulation, and `process`, the name of the simulated
process in which it happened: "client" (the test itself), "w1" (a worker's main process), "w1/2" (the second pool
process that worker ever had), "beat", or "broker" for what a server does by itself.

Identity: `message` numbers what was published, in the order of publishing, over all servers of a simulation; a message
that is requeued keeps its number, a retry of a task is a new message. `delivery` numbers each handing-over of a message
to a consumer. `task_id` and `task` are Celery's; both are None for a message that carries no task. An exception is
given as its type's name and its text.

The classes are not frozen because a frozen one costs three times as much to make; nobody may change an event even so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

#: Version of the event vocabulary, written into trace files.
SCHEMA_VERSION = 1


@dataclass(slots=True)
class Event:
    """What all events have in common."""

    time: float
    process: str


# --- messages


@dataclass(slots=True)
class _OfMessage(Event):
    message: int


@dataclass(slots=True)
class Published(_OfMessage):
    """A client handed a message to the broker; `due` is its ETA in virtual seconds since the start."""

    exchange: str
    routing_key: str
    task_id: str | None = None
    task: str | None = None
    retries: int | None = None
    eta: str | None = None
    due: float | None = None


@dataclass(slots=True)
class Returned(_OfMessage):
    """The broker gave an unroutable mandatory message back to its publisher."""

    exchange: str
    routing_key: str
    code: int
    reason: str
    task_id: str | None = None


@dataclass(slots=True)
class Queued(_OfMessage):
    """A message was put into a queue."""

    queue: str
    task_id: str | None = None


@dataclass(slots=True)
class Dropped(_OfMessage):
    """A message was lost: unroutable, its queue purged or deleted, its server restarted; popped by who then ended."""

    queue: str | None
    reason: str
    task_id: str | None = None


@dataclass(slots=True)
class Delivered(_OfMessage):
    """A message was handed to a consumer for the first time; `process` is the consumer's.

    `prefetch` is how many unacknowledged deliveries the `channel` (or `per_consumer`, each of its consumers) may hold,
    0 for any number. What was fetched (basic.get) has no channel: it does not count.
    """

    delivery: int
    queue: str
    task_id: str | None = None
    task: str | None = None
    redelivered: bool = False
    channel: int | None = None
    prefetch: int = 0
    per_consumer: bool = False


@dataclass(slots=True)
class Redelivered(Delivered):
    """The same, and the message says that it was delivered before."""


@dataclass(slots=True)
class Acked(_OfMessage):
    """A delivery was acknowledged; `process` is the one that did it."""

    delivery: int
    queue: str
    task_id: str | None = None


@dataclass(slots=True)
class Rejected(_OfMessage):
    """A delivery was rejected (basic.reject, basic.nack, or kombu's reject on Redis)."""

    delivery: int
    queue: str
    requeue: bool
    task_id: str | None = None


@dataclass(slots=True)
class Requeued(_OfMessage):
    """A delivered message went back to its queue.

    `reason` is "rejected", "recovered", "channel closed", "connection closed" or "visibility timeout".
    """

    queue: str
    reason: str
    task_id: str | None = None


@dataclass(slots=True)
class DeadLettered(_OfMessage):
    """A message went to its queue's dead-letter exchange; `reason` as in x-death."""

    queue: str
    exchange: str
    routing_key: str
    reason: str
    task_id: str | None = None


@dataclass(slots=True)
class MessageExpired(_OfMessage):
    """A message's or its queue's time to live ran out while it waited."""

    queue: str
    task_id: str | None = None


# --- tasks


@dataclass(slots=True)
class _OfTask(Event):
    task_id: str
    task: str


@dataclass(slots=True)
class Received(_OfTask):
    """A worker took the task in (Celery's task_received); `due` is its ETA by this worker's clock, virtual."""

    retries: int
    redelivered: bool
    eta: str | None = None
    expires: str | None = None
    delivery: int | None = None
    due: float | None = None


@dataclass(slots=True)
class Scheduled(_OfTask):
    """A worker put the task into its timer, to wait until `due` (virtual seconds since the start)."""

    due: float


@dataclass(slots=True)
class Accepted(_OfTask):
    """A worker's main process heard that a pool process has taken the task; `child` names it."""

    child: str


@dataclass(slots=True)
class Started(_OfTask):
    """The task begins to run (Celery's task_prerun), in a pool process."""

    retries: int
    redelivered: bool = False
    delivery: int | None = None


@dataclass(slots=True)
class Finished(_OfTask):
    """The run of a task is over (Celery's task_postrun); `state` is what the run came to."""

    state: str


@dataclass(slots=True)
class StateStored(Event):
    """A state was written to the result backend."""

    task_id: str
    state: str


@dataclass(slots=True)
class HookCalled(_OfTask):
    """A hook of the task's class was called: before_start, on_success, on_failure, on_retry or after_return."""

    hook: str


@dataclass(slots=True)
class Succeeded(_OfTask):
    """Celery's task_success."""


@dataclass(slots=True)
class Failed(_OfTask):
    """Celery's task_failure; from the worker's main process for a lost or timed-out task."""

    exception: str
    text: str


@dataclass(slots=True)
class RetryAsked(_OfTask):
    """A task asks to be run again (Task.retry), `delay` seconds from now.

    `source` of the delay: "backoff" (autoretry_for, retry_backoff), "countdown", "eta" or "default" (of the task).
    `max_retries` holds for this retry; `backoff` (the factor, or None), `backoff_max` and `jitter` are the task's own.
    """

    retries: int
    delay: float
    source: str
    max_retries: int | None = None
    backoff: int | None = None
    backoff_max: int | None = None
    jitter: bool = False


@dataclass(slots=True)
class Retried(_OfTask):
    """Celery's task_retry."""

    reason: str
    retries: int


@dataclass(slots=True)
class Revoked(_OfTask):
    """A worker discarded or terminated a revoked task (Celery's task_revoked)."""

    terminated: bool


@dataclass(slots=True)
class Expired(_OfTask):
    """A worker discarded a task whose `expires` had passed (Celery's task_revoked with expired=True)."""


@dataclass(slots=True)
class TaskRejected(Event):
    """A worker could not make a task of a message (Celery's task_rejected)."""

    reason: str


@dataclass(slots=True)
class TaskUnknown(Event):
    """A worker does not know the task's name (Celery's task_unknown)."""

    task_id: str | None
    task: str


# --- processes


@dataclass(slots=True)
class WorkerBooting(Event):
    """A worker's main process begins to start."""

    worker: str
    pid: int


@dataclass(slots=True)
class WorkerUp(Event):
    """A worker is ready (Celery's worker_ready)."""

    worker: str


@dataclass(slots=True)
class WorkerStopping(Event):
    """A worker heard that it is to stop (Celery's worker_shutting_down); `how` is Celery's word: Warm or Cold."""

    worker: str
    how: str


@dataclass(slots=True)
class WorkerDown(Event):
    """A worker's main process ended: `exitcode`, or `signal` (its number) if one killed it."""

    worker: str
    exitcode: int | None
    signal: int | None


@dataclass(slots=True)
class ProcessStarted(Event):
    """A pool process was forked; `process` is its own name."""

    pid: int


@dataclass(slots=True)
class ProcessEnded(Event):
    """A pool process or beat ended."""

    exitcode: int | None
    signal: int | None


@dataclass(slots=True)
class BeatSent(Event):
    """Beat found an entry due and sends it."""

    entry: str
    task: str


# --- the world


@dataclass(slots=True)
class Connected(Event):
    """A process opened a connection to a simulated server."""

    server: str
    connection: int


@dataclass(slots=True)
class Disconnected(Event):
    """A connection ended; `reason` is "closed", "cut", "process died", "server stopped" or the server's own words."""

    server: str
    connection: int
    reason: str


@dataclass(slots=True)
class ServerStopped(Event):
    """A simulated server went down."""

    server: str


@dataclass(slots=True)
class ServerStarted(Event):
    """A simulated server came up again."""

    server: str


@dataclass(slots=True)
class Fault(Event):
    """A fault was injected: `kind` says which, `target` whom it hit."""

    kind: str
    target: str


def _kinds(root: type[Event]) -> dict[str, type[Event]]:
    found = {}
    for kind in root.__subclasses__():
        found.update({kind.__name__: kind, **_kinds(kind)})
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


#: Each kind of event by the name of its class, which is also its name in trace files and scenarios.
KINDS: dict[str, type[Event]] = _kinds(Event)

#: The events that every task has, in their order; no subclass is meant.
Often = Published | Queued | Delivered | Received | Started | StateStored | Succeeded | Finished | Accepted | Acked

#: Names of the fields of each kind, as its constructor has them.
FIELDS: dict[str, tuple[str, ...]] = {name: tuple(field.name for field in fields(kind)) for name, kind in KINDS.items()}

__all__ = ["FIELDS", "KINDS", "SCHEMA_VERSION", "Event", "Often", *KINDS]
