"""What the rows of the worker's doors may ask of the simulation."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from tasksim.broker.servers import AmqpServers
from tasksim.events import Event, Often
from tasksim.kernel.loop import Kernel
from tasksim.patching.clock import Clocks
from tasksim.patching.databases import Databases
from tasksim.patching.guard import Gate, Watchdog
from tasksim.patching.table import Patches
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix

if TYPE_CHECKING:
    from tasksim.worker.app import Apps
    from tasksim.worker.bodies import Bodies
    from tasksim.worker.eager import Ends
    from tasksim.worker.joins import Joins
    from tasksim.worker.memory import Memory
    from tasksim.worker.task_classes import TaskClasses
    from tasksim.worker.watch import Watch


class World(Protocol):
    """One simulation, as its doors see it.

    Attributes:
        app: the user's app.
        gate: says who is inside.
        clocks: what programs are shown for the time.
        amqp: the RabbitMQ servers.
        record: puts an event into the trace.
        record_often: the same, for those that every task has.
        now: virtual seconds since the start, as events have it.
        running: the tasks whose body runs.
        ends: which tasks have come to their end; only in eager mode.
        joins: who waits for results.
        memory: what pool processes take.
        backends: result backends that were made inside.
        databases: whose connections are whose.
        deliveries: the latest delivery of each task's message, by task id.
        task_classes: what processes have put on the classes of tasks.
        watch: listens to Celery's signals.
        watchdog: ends what blocks for real.
    """

    kernel: Kernel
    unix: Unix
    gate: Gate
    clocks: Clocks
    amqp: AmqpServers
    patches: Patches
    record: Callable[[Event], None]
    record_often: Callable[[Often], None]
    now: Callable[[], float]
    app: Any
    apps: Apps
    running: Bodies
    deliveries: dict[str, int]
    task_classes: TaskClasses
    watch: Watch
    watchdog: Watchdog
    ends: Ends | None
    joins: Joins
    memory: Memory
    databases: Databases
    backends: list[weakref.ref[Any]]

    def child_name(self, parent: UnixProcess) -> str:
        """The name of the next pool process of this worker."""
