"""Celery's own signals and a few of its methods, turned into events."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import celery.app.task
import celery.backends.base
import celery.backends.rpc
import celery.beat
import celery.worker.request
import kombu.asynchronous.timer
from celery import signals

from tasksim import events
from tasksim.kernel.process import Process
from tasksim.message import due_of
from tasksim.patching.table import Row
from tasksim.worker.world import World

_UID = "tasksim.watch"
_OF_EACH_TASK = (signals.task_received, signals.task_prerun, signals.task_postrun, signals.task_success)
#: Seconds that a tick of beat takes when it wants to tick again at once.
TICK = 0.001
#: Seconds by which beat wakes early (its `adjust`); then it ticks again and again until an entry is due.
EARLY = 0.010
MICROSECOND = 1e-6


class Watch:
    """Receivers of Celery's signals for one simulation.

    Attributes:
        places: task id to the place in the user's code where its last error was raised; not for the trace, which
            has no paths of a machine.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._kernel, self._record, self._now = world.kernel, world.record, world.now
        self.record_often: Callable[[events.Often], None] = world.record
        self.places: dict[str, str] = {}
        self.on_worker_up: Callable[[Any], None] = lambda _: None
        self.on_beat_up: Callable[[], None] = lambda: None
        self.on_loss: Callable[[Process, list[str]], None] = lambda *_: None
        self.on_worker_stopping: Callable[[], None] = lambda: None
        self._before: list[tuple[Any, bool, Any]] = []
        self._receivers = (
            (signals.task_received, self._received),
            (signals.task_prerun, self.started),
            (signals.task_postrun, self.finished),
            (signals.task_success, self.succeeded),
            (signals.task_failure, self._failed),
            (signals.task_retry, self._retried),
            (signals.task_revoked, self._revoked),
            (signals.task_rejected, self._rejected),
            (signals.task_unknown, self._unknown),
            (signals.worker_ready, self._ready),
            (signals.worker_shutting_down, self._shutting_down),
            (signals.beat_init, self._beat_ready),
        )

    def connect(self) -> None:
        """Begin to listen.

        Signals that are sent for each task remember meanwhile who listens to which sender, as celery.utils.dispatch can
        do and does for none of them: without us most would have no receiver, and cost nothing.
        """
        for signal, receiver in self._receivers:
            signal.connect(receiver, weak=False, dispatch_uid=_UID)
        self._before = [(signal, signal.use_caching, signal.sender_receivers_cache) for signal in _OF_EACH_TASK]
        for signal in _OF_EACH_TASK:
            signal.use_caching, signal.sender_receivers_cache = True, {}

    def disconnect(self) -> None:
        """No longer listen."""
        for signal, caching, cache in self._before:
            signal.use_caching, signal.sender_receivers_cache = caching, cache
        for signal, _ in self._receivers:
            signal.disconnect(dispatch_uid=_UID)

    def _where(self) -> tuple[float, str]:
        return self._now(), self._kernel.current.name

    def _received(self, request: Any, **_: Any) -> None:
        information = request.delivery_info
        headers = request.request_dict
        now, eta = self._now(), headers.get("eta")
        self.record_often(
            events.Received(
                now, self._kernel.current.name, request.id, request.name, headers.get("retries") or 0,
                bool(information.get("redelivered")), eta, _text(headers.get("expires")),
                self._world.deliveries.get(request.id), None if eta is None else due_of(eta, now, time.time()),
            )
        )  # fmt: skip

    def started(self, task_id: str, task: Any, **_: Any) -> None:
        """Celery's task_prerun."""
        process = self._kernel.current
        self._world.running.begin(process, task_id)
        request = task.request
        information = request.delivery_info or {}
        self.record_often(
            events.Started(
                self._now(), process.name, task_id, task.name, request.retries or 0,
                bool(information.get("redelivered")), self._world.deliveries.get(task_id),
            )
        )  # fmt: skip

    def finished(self, task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
        """Celery's task_postrun."""
        process = self._kernel.current
        self.record_often(events.Finished(self._now(), process.name, task_id, task.name, state or "UNKNOWN"))
        self._world.running.end(process)
        if not state and "/" in process.name:
            self.on_loss(process, [task_id])  # SystemExit and its like: its pool process is about to end

    def succeeded(self, sender: Any, **_: Any) -> None:
        """Celery's task_success."""
        self.record_often(events.Succeeded(self._now(), self._kernel.current.name, sender.request.id, sender.name))

    def _failed(self, sender: Any, task_id: str, exception: Any, traceback: Any = None, **_: Any) -> None:
        name = getattr(sender, "name", str(sender))
        place = _place(traceback, getattr(sender, "__module__", None) or "")
        if place is not None:
            self.places[task_id] = place
        self._record(events.Failed(*self._where(), task_id, name, type(exception).__name__, str(exception)))

    def _retried(self, sender: Any, request: Any, reason: Any = "cancelled", **_: Any) -> None:
        retries = getattr(request, "retries", None)
        if retries is None:
            retries = request.request_dict.get("retries", 0)  # a worker's Request, from the main process
        self._record(events.Retried(*self._where(), request.id, sender.name, str(reason), retries))

    def _revoked(self, sender: Any, request: Any, terminated: bool, expired: bool, **_: Any) -> None:
        if expired:
            self._record(events.Expired(*self._where(), request.id, sender.name))
        else:
            self._record(events.Revoked(*self._where(), request.id, sender.name, bool(terminated)))

    def _rejected(self, exc: Any = None, **_: Any) -> None:
        self._record(events.TaskRejected(*self._where(), type(exc).__name__ if exc is not None else "no task"))

    def _unknown(self, name: Any = None, id: Any = None, **_: Any) -> None:  # noqa: A002
        self._record(events.TaskUnknown(*self._where(), id, str(name)))

    def _ready(self, sender: Any, **_: Any) -> None:
        name = self._kernel.current.name
        self._record(events.WorkerUp(self._now(), name, name))
        self.on_worker_up(sender)

    def _beat_ready(self, **_: Any) -> None:
        self.on_beat_up()

    def _shutting_down(self, how: str = "", **_: Any) -> None:
        name = self._kernel.current.name
        self._record(events.WorkerStopping(self._now(), name, name, how))
        self.on_worker_stopping()


def _place(traceback: Any, module: str) -> str | None:
    """The last line of a traceback that is in the package of this module, for people: "shop/tasks.py:7, in total"."""
    package, found = module.partition(".")[0], None
    while isinstance(traceback, TracebackType):
        frame = traceback.tb_frame
        if package and str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            code = frame.f_code
            found = f"{os.path.relpath(code.co_filename)}:{traceback.tb_lineno}, in {code.co_name}"
        traceback = traceback.tb_next
    return found


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


# --- methods


def _sent(signal: Any, receiver: str) -> Callable[[World], object]:
    """The way in which celery.app.trace sends a signal, cut short while nobody but we listens."""

    def make(world: World) -> object:
        real, receivers, ours = signal.send, signal.receivers, getattr(world.watch, receiver)

        def send(**named: Any) -> Any:
            return ours(**named) if len(receivers) == 1 else real(**named)

        return send

    return make


def _accepted(world: World) -> object:
    real = celery.worker.request.Request.on_accepted

    def on_accepted(self: Any, pid: int, time_accepted: float) -> Any:
        driver = world.kernel.driver
        child = world.unix.processes.get(pid, driver if pid == driver.pid else None)
        name = child.name if child is not None else str(pid)
        world.record_often(events.Accepted(world.now(), world.kernel.current.name, self.id, self.name, name))
        return real(self, pid, time_accepted)

    return on_accepted


def _scheduled(world: World) -> object:
    real: Any = kombu.asynchronous.timer.Timer.call_at

    def call_at(self: Any, eta: float, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        if args and isinstance(args[0], celery.worker.request.Request):
            request, now = args[0], world.now()
            due = round(now + eta - time.monotonic(), 6)
            world.record(events.Scheduled(now, world.kernel.current.name, request.id, request.name, due))
        return real(self, eta, fun, args, kwargs, priority)

    return call_at


def _retry(world: World) -> object:
    real = celery.app.task.Task.retry

    def retry(
        self: Any, args: Any = None, kwargs: Any = None, exc: Any = None, throw: Any = True, eta: Any = None,
        countdown: Any = None, max_retries: Any = None, **options: Any,
    ) -> Any:  # fmt: skip
        if not self.request.called_directly:
            automatic = sys._getframe(1).f_globals.get("__name__") == "celery.app.autoretry"
            world.record(_retry_asked(world, self, automatic, eta, countdown, max_retries))
        return real(self, args, kwargs, exc, throw, eta=eta, countdown=countdown, max_retries=max_retries, **options)

    return retry


def _retry_asked(
    world: World, task: Any, automatic: bool, eta: Any, countdown: Any, max_retries: Any
) -> events.RetryAsked:
    """What was asked for, and what the task itself says of its retries."""
    backoff = float(getattr(task, "retry_backoff", False) or 0)
    # Celery's own defaults, celery/app/autoretry.py
    own = (int(max(1.0, backoff)), int(getattr(task, "retry_backoff_max", 600)), getattr(task, "retry_jitter", True))
    if countdown is not None:
        source, delay = "backoff" if automatic and backoff else "countdown", countdown
    elif eta:
        source, delay = "eta", due_of(eta.isoformat(), 0.0, time.time()) or 0.0
    else:
        source, delay = "default", task.default_retry_delay
    limit = task.max_retries if max_retries is None else max_retries
    return events.RetryAsked(
        world.now(), world.kernel.current.name, task.request.id, task.name, task.request.retries or 0,
        float(delay or 0), source, limit, *((own[0], own[1], bool(own[2])) if backoff else ()),
    )  # fmt: skip


def _store_result(owner: Any) -> Callable[[World], object]:
    def make(world: World) -> object:
        real = owner.store_result

        def store_result(self: Any, task_id: str, result: Any, state: str, *arguments: Any, **options: Any) -> Any:
            stored = real(self, task_id, result, state, *arguments, **options)
            world.record_often(events.StateStored(world.now(), world.kernel.current.name, task_id, state))
            return stored

        return store_result

    return make


def _beat_sends(world: World) -> object:
    real = celery.beat.Scheduler.apply_async

    def apply_async(self: Any, entry: Any, *arguments: Any, **options: Any) -> Any:
        world.record(events.BeatSent(world.now(), world.kernel.current.name, entry.name, entry.task))
        return real(self, entry, *arguments, **options)

    return apply_async


def _beat_ticks(world: World) -> object:
    real = celery.beat.Scheduler.tick

    def tick(self: Any, *arguments: Any, **options: Any) -> Any:
        interval = real(self, *arguments, **options)
        if not interval or interval <= 0:
            # A float is what is left until an entry is due, less the drift; a whole 0 asks for the next tick.
            left = interval + EARLY if isinstance(interval, float) else TICK
            world.kernel.sleep(max(left, MICROSECOND), "its next tick")
        return interval

    return tick


_WHY = "leaves an event, and goes on as shipped"

_SHORT = "for speed: three signals of every task whose only receiver is ours"

ROWS = (
    Row("celery.app.trace:send_prerun", _SHORT, _sent(signals.task_prerun, "started")),
    Row("celery.app.trace:send_postrun", _SHORT, _sent(signals.task_postrun, "finished")),
    Row("celery.app.trace:send_success", _SHORT, _sent(signals.task_success, "succeeded")),
    Row("celery.worker.request:Request.on_accepted", _WHY, _accepted),
    Row("kombu.asynchronous.timer:Timer.call_at", _WHY, _scheduled),
    Row("celery.app.task:Task.retry", _WHY, _retry),
    Row("celery.backends.base:Backend.store_result", _WHY, _store_result(celery.backends.base.Backend)),
    Row("celery.backends.rpc:RPCBackend.store_result", _WHY, _store_result(celery.backends.rpc.RPCBackend)),
    Row("celery.beat:Scheduler.apply_async", _WHY, _beat_sends),
    Row(
        "celery.beat:Scheduler.tick",
        "beat spins for the 10 ms by which it is early; it waits for them instead",
        _beat_ticks,
    ),
)
