"""When a simulation is over, and when it is stuck.

Every agenda entry is either work or housekeeping, and a living worker always has housekeeping due (heartbeats, pool
checks, a blocking pop's second). So the question is asked of those who know: servers know what is ready for a consumer
or unacknowledged, hosts whether somebody boots, stops or has lost the broker, the trace which task bodies run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from tasksim import events
from tasksim.broker.snapshot import QueueRow
from tasksim.deadlock import Deadlock
from tasksim.errors import NothingLeftToDo, PoolDeadlock, Spinning, Stuck
from tasksim.events import Disconnected, Event, Finished, Redelivered, Scheduled, Started
from tasksim.kernel.loop import SECOND
from tasksim.kernel.process import Process
from tasksim.renewal import Renewal
from tasksim.worker.host import BOOTING, STOPPING, UP

if TYPE_CHECKING:
    from tasksim.world import World

#: A worker that has lost its connection sleeps a second and asks its neighbours for another one before it consumes.
RECONNECT_NS = 5 * SECOND
#: One that has been refused tries again after 2, 4, 6 seconds and so on, at last every 32 (kombu: Connection.
#: ensure_connection), so when a server is up again it takes so long until its workers are surely back.
RETRY_NS = 32 * SECOND + RECONNECT_NS
#: Somebody who sleeps at least so long (seconds) means it; shorter sleeps are taken for polling.
LONG_SLEEP_NS = 60 * SECOND
#: With latency a message is in nobody's hands on its way: published and not arrived, or taken from Redis and
#: not yet put down as unacknowledged. So rest has to last for so many latencies.
TRIPS = 4
#: A worker notices within so long that a pool process has died in the middle of a task: billiard looks every five
#: seconds and gives the task ten more.
NOTICE_NS = 20 * SECOND
#: A test that waits for something of its own to come true is given so long (seconds) after a pool has come to a
#: standstill.
PATIENCE = 60
#: What ends a task.
_ENDS = (Finished, events.Succeeded, events.Failed, events.Expired, events.Revoked)


def _seen(event: Event, rows: Mapping[str, QueueRow]) -> str:
    """Where a task was seen; of a queue, whether anybody takes from it."""
    queue = getattr(event, "queue", None) if isinstance(event, events.Queued | events.Requeued) else None
    if queue is None:
        return f"{type(event).__name__} in {event.process}"
    row = rows.get(queue)
    return f"{type(event).__name__} in {queue}" + ("" if row is None or row.consumers else ", which no worker consumes")


class Waits:
    """Somebody waits for a condition: one thread of the test's own process."""

    def __init__(self, thread: object, condition: Callable[[], object]) -> None:
        self.thread, self.condition, self.holds = thread, condition, False


class Progress:
    """Looks at the world each time the clock is about to move.

    Attributes:
        until_idle: the driver waits for the end of all work.
        planned: how many planned actions (faults, calls) are still to come at a given time.
        scripts: processes of the test's own; those that live do something.
    """

    def __init__(self, world: World) -> None:
        self._world, self._kernel, self._limits = world, world.kernel, world.limits
        self.until_idle = False
        self.waits: list[Waits] = []
        self.planned = 0
        self.scripts: list[Process] = []
        self._interrupted: dict[str, int] = {}
        self._refused: dict[str, None] = {}
        self._idle_since: int | None = None
        self._events_seen, self._last_event_ns = -1, 0
        self._next_look_ns = self._eta_ns = 0
        self._rest = -1, 0
        self._lost: dict[str, str] = {}
        self._given_up: set[str] = set()
        self._stop_listening: Callable[[], None] | None = None
        self._deadlock, self._stands_since = Deadlock(world), -1
        self._handings: dict[int, list[int]] = {}
        self._second = -1
        self._renewal: Renewal | None = None
        self._kernel.before_advance = self._before_advance
        world.trace.subscribe(Disconnected, self._disconnected)
        world.trace.subscribe(Redelivered, self._count_redelivery)
        world.trace.subscribe(events.ServerStarted, self._server_started)
        world.trace.subscribe(events.Connected, self._connected)
        world.trace.subscribe(Scheduled, self._scheduled)
        world.trace.subscribe(events.WorkerDown, self._worker_ended)
        for kind in (events.Failed, events.Revoked):
            world.trace.subscribe(kind, self._ended_in_worker)
        world.trace.subscribe(events.Failed, world.garbage.failed)
        world.trace.subscribe(events.Retried, world.garbage.failed)
        world.hosts.on_loss = self._lost_with_process

    @contextlib.contextmanager
    def without_end(self) -> Iterator[None]:
        """The test waits for the end of all work, however long that takes: work that renews itself is told."""
        self._renewal = Renewal(self._world.trace, self._limits.repeats)
        try:
            yield
        finally:
            self._renewal = None

    # --- idle

    def _rest_lasts(self) -> bool:
        """Has it been idle for long enough that nothing can be on its way?"""
        kernel, trips_ns = self._kernel, TRIPS * self._world.network.latency_ns_max
        if not trips_ns:
            return True
        events_seen = len(self._world.trace)
        if events_seen != self._rest[0]:
            self._rest = events_seen, kernel.now_ns
            kernel.at(kernel.now_ns + trips_ns, lambda: None)
        return kernel.now_ns - self._rest[1] >= trips_ns

    def is_idle(self) -> bool:
        """Is there nothing left to do?"""
        world = self._world
        if world.running or self.planned or self._lost or any(not script.dead for script in self.scripts):
            return False
        if any(server.waiting() for server in world.amqp.all()):
            return False
        if world.app is None and self._eta_ns > self._kernel.now_ns:
            return False  # a worker on memory:// has it, and no server knows
        return self._workers_rest() and not any(world.redis_watch.waiting())

    def _workers_rest(self) -> bool:
        now_ns = self._kernel.now_ns
        for name, handle in self._world.hosts.workers.items():
            if handle.state in (BOOTING, STOPPING):
                return False
            if handle.state == UP and self._interrupted.get(name, -1) > now_ns:
                return False
        return True

    def _disconnected(self, event: Event) -> None:
        assert isinstance(event, Disconnected)
        self._interrupted[event.process] = self._kernel.now_ns + RECONNECT_NS
        if event.reason == "server stopped":
            self._refused[event.process] = None

    def _server_started(self, _: Event) -> None:
        for process in self._refused:
            self._interrupted[process] = self._kernel.now_ns + RETRY_NS

    def _connected(self, event: Event) -> None:
        if event.process in self._refused:
            del self._refused[event.process]
            self._interrupted[event.process] = self._kernel.now_ns + RECONNECT_NS

    # --- tasks whose pool process died: their worker has still to find out

    def _lost_with_process(self, worker: str, task_ids: list[str]) -> None:
        handle = self._world.hosts.workers.get(worker)
        if handle is None or handle.process.dead:
            return
        for task_id in task_ids:
            if task_id in self._given_up:
                self._given_up.remove(task_id)
                continue
            if self._stop_listening is None:
                # Only while there is something to hear: who listens slows down what every task has.
                listen = self._world.trace.subscribe
                self._stop_listening = listen(Finished, lambda event: self._found(event.task_id))
            self._lost[task_id] = worker
            self._kernel.at(self._kernel.now_ns + NOTICE_NS, self._found, task_id)

    def _ended_in_worker(self, event: events.Failed | events.Revoked) -> None:
        """What its worker has given up (a time limit, say) while it still runs in a child, is not lost with that."""
        if "/" not in event.process and event.task_id in self._world.running.values():
            self._given_up.add(event.task_id)
        self._found(event.task_id)

    def _found(self, task_id: str) -> None:
        self._lost.pop(task_id, None)
        if not self._lost and self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None

    def _worker_ended(self, event: Event) -> None:
        for task_id in [one for one, worker in self._lost.items() if worker == event.process]:
            self._found(task_id)

    # --- before the clock moves

    def _before_advance(self, due_ns: int | None) -> bool:
        kernel, driver = self._kernel, self._kernel.driver_thread
        come = [one for one in self.waits if not one.holds and one.condition()]
        for one in come:
            one.holds = True
            kernel.wake(one.thread)
        if come:
            return True
        if not kernel.is_parked(driver):
            return False
        if self.until_idle and self.is_idle() and self._rest_lasts():
            self.until_idle = False
            kernel.wake(driver)
            return True
        if due_ns is not None and due_ns >= self._next_look_ns:
            self._next_look_ns = due_ns + SECOND
            self._look(due_ns)
        return False

    def _look(self, due_ns: int) -> None:
        kernel = self._kernel
        found = None if self._renewal is None else self._renewal.look()
        if found is not None:
            raise Stuck(
                f"the test waits for the end of all work, and there is none in sight: {found}. Remedies: "
                "sim.run(until=...) or sim.run(limit=...) where that is meant (with mode='broker', if a call waits), a "
                "limit for the task (max_retries), or Limits(repeats=...) if it comes to an end later"
            )
        if self._world.joins:
            self._look_for_deadlock()
        count = len(self._world.trace)
        if count != self._events_seen:
            self._events_seen, self._last_event_ns = count, kernel.now_ns
        deadline_ns = kernel.parked_until_ns(kernel.driver_thread)
        if deadline_ns is not None and deadline_ns - kernel.now_ns >= LONG_SLEEP_NS:
            self._idle_since = None
            self._last_event_ns = deadline_ns
            return
        if not self.is_idle():
            self._idle_since = None
            self._last_event_ns = max(self._last_event_ns, self._promised_ns())
            if due_ns - self._last_event_ns > self._limits.stuck * SECOND:
                raise Stuck(self._what_is_left())
        elif self._idle_since is None:
            self._idle_since = kernel.now_ns
        elif due_ns - self._idle_since > self._limits.idle * SECOND:
            self._idle_since = None
            raise NothingLeftToDo(self._idle_wait())

    def _look_for_deadlock(self) -> None:
        """Those who wait for one another for good: said at once, unless the test itself will go on."""
        kernel, world = self._kernel, self._world
        driver = kernel.driver_thread
        polls = (world.driver, driver) in (who for who, _ in world.joins.items())
        ends = kernel.parked_until_ns(driver) is not None and not polls
        scripts = [one for one in self.scripts if not one.dead]
        waits = not polls  # for the end of all work, or for something of its own
        if (
            ends
            or self.planned
            or self._lost
            or not self._deadlock.look()
            or not self._deadlock.is_final(waits, scripts)
        ):
            self._stands_since = -1
            return
        if self._stands_since < 0:
            self._stands_since = kernel.now_ns
        if polls or self.until_idle or kernel.now_ns - self._stands_since >= PATIENCE * SECOND:
            self._stands_since = -1
            raise PoolDeadlock(self._deadlock.text())

    def deadlocked(self) -> list[str]:
        """Which tasks wait for one another for good, if any do."""
        world = self._world
        return [self._deadlock.text()] if world.open and world.joins and self._deadlock.look() else []

    def _scheduled(self, event: Event) -> None:
        assert isinstance(event, Scheduled)
        self._eta_ns = max(self._eta_ns, self._kernel.now_ns + round((event.due - event.time) * SECOND))

    def _promised_ns(self) -> int:
        """Until when it is known that nothing need happen: a task waits for its ETA, or sleeps for long."""
        kernel = self._kernel
        promised_ns = self._eta_ns
        for process in self._world.running:
            for thread in process.threads:
                until_ns = kernel.parked_until_ns(thread) or 0
                if until_ns - kernel.now_ns >= LONG_SLEEP_NS:
                    promised_ns = max(promised_ns, until_ns)
        return promised_ns

    def _idle_wait(self) -> str:
        world = self._world
        reason = world.driver.own.get("waiting_for", "something")
        lines = [
            f"the test has waited for {self._limits.idle:g} virtual seconds in an idle world, for {reason}; "
            "no task runs, no message is ready for a worker, unacknowledged or waiting for its ETA.",
            *self._workers(),
            *self._unfinished(),
            *world.databases.waiting_for_commit(),
        ]
        return "\n".join(lines)

    def _unfinished(self) -> list[str]:
        """What became of tasks that were published and never came to an end."""
        last: dict[str, Event] = {}
        begun: dict[str, Started] = {}
        deaths: dict[str, float] = {}
        names: dict[str, str] = {}
        rows = self._world.queue_rows()
        for event in self._world.trace:
            task_id = getattr(event, "task_id", None)
            if task_id is not None and (task := getattr(event, "task", None)):
                names.setdefault(task_id, task)
            if isinstance(event, (events.ProcessEnded, events.WorkerDown)):
                deaths[event.process] = event.time
            elif task_id is None or isinstance(last.get(task_id), _ENDS):
                continue
            elif not isinstance(event, Finished) or event.state != "RETRY":
                last[task_id] = event
                if isinstance(event, Started):
                    begun[task_id] = event
        lines = []
        for task_id, event in last.items():
            if not isinstance(event, _ENDS):
                line = f"  {names.get(task_id, '')}[{task_id}]: last seen at {event.time:g} s: {_seen(event, rows)}"
                start = begun.get(task_id)
                if start is not None and deaths.get(start.process, -1) >= start.time:
                    died = deaths[start.process]
                    line += f"; Started at {start.time:g} s in {start.process}, which ended at {died:g} s"
                lines.append(line)
        return ["tasks that never came to an end:", *lines[:20]] if lines else []

    def _workers(self) -> list[str]:
        handles = self._world.hosts.workers.values()
        return [f"  worker {one.name} is {one.state}" for one in handles] or ["  there is no worker"]

    def _what_is_left(self) -> str:
        return f"nothing has happened for {self._limits.stuck:g} virtual seconds, and work is left:\n{self.left()}"

    def left(self) -> str:
        """What is left to do, and who waits for what: for a message."""
        world, name = self._world, self._world.trace.task_name
        lines = [f"  {process.name} runs {name(id_) or ''}[{id_}]" for process, id_ in world.running.items()]
        for server in world.amqp.all():
            lines += [f"  {row}" for row in server.rows() if row.ready or row.unacked]
        return "\n".join([*lines, *self._workers(), *self.deadlocked(), "who waits:", self._kernel.describe_waiters()])

    # --- spinning

    def _count_redelivery(self, event: Redelivered) -> None:
        second = int(event.time)
        if second != self._second:
            self._second = second
            self._handings.clear()
        count = self._handings.get(event.message)
        if count is None:
            count = self._handings[event.message] = [1]  # the first was no redelivery
        count[0] += 1
        if count[0] > self._limits.deliveries:
            count[0] = 0
            error = Spinning(
                f"message {event.message} (task {event.task_id}) was delivered {self._limits.deliveries} times within "
                f"one virtual second, at last from queue {event.queue} to {event.process}"
            )
            self._kernel.soon(self._kernel.raise_in_driver, error)
