"""A pool that has come to a standstill: each of its processes waits in `get()` for a task that only they could run.

Nothing is guessed from time. A body is held up if what it waits for cannot come: it is run by a body that is held up
itself, or its message lies with workers each of which has no process but such. The greatest set of bodies of which this
holds is stuck for good, provided that nobody else could change it: see `Deadlock.is_final`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasksim import events as e
from tasksim.worker.host import DOWN, UP, WorkerHandle
from tasksim.worker.joins import Waiter, has_time_limit, parts, slots

if TYPE_CHECKING:
    from tasksim.world import World

__all__ = ["Deadlock"]

_OVER = (e.Failed, e.Succeeded, e.Revoked, e.Expired, e.TaskUnknown, e.Dropped, e.DeadLettered, e.MessageExpired)
#: Where messages of native delayed delivery wait until they go on.
_DELAYED = "celery_delayed_"

REMEDY = (
    "Remedies: do not wait inside a task (let a chain, a chord or a link go on with the result); or give the awaited "
    "tasks a queue with a worker of its own; or wait with get(timeout=...). More pool processes only move the limit."
)


class _Places:
    """Where each task that is not over lies: the worker that holds its message (or None), and its queue."""

    def __init__(self, world: World) -> None:
        self._world, self._seen = world, 0
        self.of: dict[str, tuple[str | None, str]] = {}
        self.names: dict[str, str] = {}

    def catch_up(self) -> None:
        trace = self._world.trace  # not kept: what outlives a simulation must not hold it
        for event in trace[self._seen :]:
            task_id = getattr(event, "task_id", None)
            if task_id is None:
                continue
            if isinstance(event, (e.Queued, e.Requeued)):
                self.of[task_id] = None, event.queue
            elif isinstance(event, e.Delivered):
                self.of[task_id] = event.process.partition("/")[0], event.queue
            elif isinstance(event, e.Published) and event.task is not None:
                self.names[task_id] = event.task
            elif isinstance(event, e.Finished):
                if event.state != "RETRY":  # its next message is in a queue already
                    self.of.pop(task_id, None)
            elif isinstance(event, _OVER) or (isinstance(event, e.Rejected) and not event.requeue):
                self.of.pop(task_id, None)
        self._seen = len(trace)


class Deadlock:
    """Looks for bodies that are held up for good."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._places = _Places(world)
        self._held: dict[Waiter, str] = {}
        self._full: set[str] = set()
        self._reasons: dict[Waiter, str] = {}

    # --- who is held up

    def look(self) -> bool:
        """Are there such bodies now, and is one of them waiting for want of a pool process?"""
        world = self._world
        waits = world.joins.items()
        if not waits or not world.running:
            self._held = {}
            return False
        self._places.catch_up()
        bodies = world.running.threads()
        self._held = {who: bodies[who] for who, _ in waits if who in bodies and self._stays(who[0], bodies[who])}
        results = dict(waits)
        while self._held:
            self._full = {handle.name for handle in self._up() if self._is_full(handle)}
            ids = set(self._held.values())
            self._reasons = {}
            free = [who for who in self._held if not self._is_hopeless(who, results[who], ids)]
            if not free:
                break
            for who in free:
                del self._held[who]
        return any("holds" in reason or "queue" in reason for reason in self._reasons.values()) and bool(self._held)

    def _up(self) -> list[WorkerHandle]:
        return [one for one in self._world.hosts.workers.values() if one.state == UP]

    def _stays(self, process: Any, task_id: str) -> bool:
        """Does nothing but the result end this body? A thread of its own might, or a time limit."""
        handle = self._world.hosts.of(process)
        if handle is None or handle.state != UP or handle.consumer is None:
            return False
        if process is not handle.process and len(process.threads) > 1:
            return False
        return not has_time_limit(handle.consumer, task_id)

    def _is_full(self, handle: WorkerHandle) -> bool:
        inside = sum(process in handle.processes for process, _ in self._held)
        return handle.consumer is not None and inside >= slots(handle.consumer)

    def _consumers(self, queue: str, holder: str | None) -> list[str]:
        return [one.name for one in self._up() if queue in one.queue_names or one.name == holder]

    def _hindrance(self, task_id: str, held: set[str]) -> str | None:
        """Why this task's result cannot come, in words; None if it can, for all that is known."""
        running = self._world.running.values()
        if task_id in running:
            return "which waits itself" if task_id in held else None
        if task_id not in self._places.of:
            return None  # over, or not published yet
        holder, queue = self._places.of[task_id]
        consumers = self._consumers(queue, holder)
        if not consumers or not self._full.issuperset(consumers):
            return None
        if holder is not None:
            return f"which worker {holder} holds, taken from queue {queue}"
        return f"which lies in queue {queue}, consumed by {', '.join(consumers)}"

    def _is_hopeless(self, who: Waiter, result: Any, held: set[str]) -> bool:
        found = self._first_hindrance(result, held)
        if found is None:
            return False
        task_id, why = found
        self._reasons[who] = f"{self._name(task_id)}, {why}"
        return True

    def _first_hindrance(self, result: Any, held: set[str]) -> tuple[str, str] | None:
        task_id = getattr(result, "id", None)
        why = self._hindrance(task_id, held) if isinstance(task_id, str) else None
        if why is not None and isinstance(task_id, str):
            return task_id, why
        if isinstance(task_id, str) and task_id in self._world.running.values():
            return None
        for part in parts(result):
            found = self._first_hindrance(part, held)
            if found is not None:
                return found
        return None

    # --- is it for good

    def is_final(self, driver_waits: bool, scripts: Iterable[Any]) -> bool:
        """Can nobody else change it: no other body, message, worker, beat, script or thread, and not the test?

        Args:
            driver_waits: the test waits for the end of all work, so not for something that may have come.
            scripts: processes of the test's own that live.
        """
        world = self._world
        results = {who[0]: result for who, result in world.joins.items()}
        driver, held = world.driver, set(self._held.values())
        waiting = [*scripts, *([] if driver_waits else [driver])]
        if any(one not in results or self._first_hindrance(results[one], held) is None for one in waiting):
            return False
        if len(world.running) > len(self._held) or any(not one.dead for one in driver.threads):
            return False
        workers = world.hosts.workers.values()
        if any(one.state not in (UP, DOWN) for one in workers) or (
            world.app is not None and any(world.app.steps.values())
        ):
            return False
        beats = any(not beat.dead for beat in world.hosts.beats.values())
        if beats and any(one.name not in self._full for one in self._up()):
            return False
        return not any(self._may_go_on(*place) for place in self._places.of.items())

    def _may_go_on(self, task_id: str, place: tuple[str | None, str]) -> bool:
        if task_id in self._world.running.values():
            return False  # one of those that are held up
        holder, queue = place
        consumers = self._consumers(queue, holder)
        if consumers:
            return not self._full.issuperset(consumers)
        flowing = (one.name for server in self._world.amqp.all() for one in server.shared.flowing)
        return queue.startswith(_DELAYED) or queue in flowing

    # --- in words

    def _name(self, task_id: str) -> str:
        return f"{self._places.names.get(task_id) or self._world.trace.task_name(task_id) or ''}[{task_id}]"

    def lines(self) -> list[str]:
        """Which task waits where for which."""
        lines = [
            f"  {self._name(task_id)} in {who[0].name} waits in get() for {self._reasons[who]}"
            for who, task_id in self._held.items()
        ]
        for handle in self._up():
            if handle.name in self._full:
                count = slots(handle.consumer)
                lines.append(
                    f"  worker {handle.name} runs {count} task{'' if count == 1 else 's'} at a time, and "
                    f"{'it waits' if count == 1 else 'all of them wait'}"
                )
        return lines

    def text(self) -> str:
        """For an error."""
        title = "the pool is deadlocked: tasks wait for tasks that only their own pool processes could run."
        return "\n".join([title, *self.lines(), REMEDY])
