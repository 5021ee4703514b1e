"""The memory of processes, as the user declares it: `worker_max_memory_per_child` and `inspect memsample` measure this.

All simulated processes live in one interpreter, so what the machine says of its memory is of no use.
"""

from __future__ import annotations

import logging
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import celery.worker.control as control

from tasksim import events
from tasksim.errors import UsageError
from tasksim.patching.table import Row
from tasksim.trace.log import Trace
from tasksim.worker.world import World

logger = logging.getLogger("tasksim")

#: What a process has of which nobody has declared anything, KiB; for nothing at all billiard logs an error.
UNDECLARED = 1


@dataclass(frozen=True, slots=True)
class PoolProcess:
    """What a curve of memory may depend on.

    Attributes:

        worker: the worker it belongs to.
        tasks: names of the tasks that it has begun, in order.
        age: virtual seconds since its fork.
    """

    name: str
    worker: str
    tasks: tuple[str, ...]
    age: float


Curve = Callable[[PoolProcess], float]


class Memory:
    """What each pool process has, by the curve that the test has declared (KiB)."""

    def __init__(self, curve: Curve | None, trace: Trace, now: Callable[[], float]) -> None:
        self.curve, self._now = curve, now
        self._born: dict[str, float] = {}
        self._tasks: dict[str, list[str]] = {}
        if curve is not None:
            trace.subscribe(events.ProcessStarted, self._started)
            trace.subscribe(events.Started, self._begun)

    def _started(self, event: events.Event) -> None:
        self._born[event.process], self._tasks[event.process] = event.time, []

    def _begun(self, event: events.Event) -> None:
        assert isinstance(event, events.Started)
        self._tasks.setdefault(event.process, []).append(event.task)

    def of(self, process: str) -> int:
        """What this process has at this instant, whole KiB, and never nothing."""
        if self.curve is None:
            return UNDECLARED
        age = self._now() - self._born.get(process, 0.0)
        child = PoolProcess(process, process.partition("/")[0], tuple(self._tasks.get(process, ())), age)
        try:
            found: Any = self.curve(child)
        except Exception as error:
            raise UsageError(f"memory= raised {error!r} for {child}; give a function that gives KiB") from error
        if not isinstance(found, (numbers.Real, Decimal)) or not math.isfinite(found):
            raise UsageError(f"memory= gave {found!r} for {child}; it has to give a number of KiB")
        return max(UNDECLARED, int(float(found)))

    def miss(self, app: Any, options: Mapping[str, Any]) -> None:
        """Say so where a worker watches its memory and nobody has declared any."""
        if self.curve is None and (options.get("max_memory_per_child") or app.conf.worker_max_memory_per_child):
            logger.warning(
                "worker_max_memory_per_child has nothing to measure: simulated processes share one interpreter. "
                "Declare what they take, in KiB: Simulation(memory=lambda child: 50_000 + 1_000 * len(child.tasks))"
            )


def _measured(world: World, process: str) -> int:
    try:
        return world.memory.of(process)
    except UsageError as error:  # of the test's own curve: a pool would take it for a broken process, and go on
        world.kernel.fail(error)
        raise


def _mem_rss(world: World) -> object:
    return lambda: _measured(world, world.kernel.current.name)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What psutil tells of a process, as far as Celery asks."""

    rss: int

    def memory_info(self) -> _Measured:
        return self


def _debugging(world: World) -> Any:
    """Celery's module for it, which measures the simulated process; imported when asked for: psutil takes 25 ms."""
    from celery.utils import debug

    real, driver = debug.ps, world.kernel.driver
    if getattr(real, "__module__", "") == debug.__name__:

        def ps() -> Any:
            process = world.kernel.current
            if debug.Process is None or process is driver:
                return real()
            return _Measured(1024 * _measured(world, process.name))

        world.patches.set(debug, "ps", ps)
    return debug


def _sampling(name: str) -> Callable[[World], object]:
    """A command of the control panel; each process has its own samples."""

    def make(world: World) -> object:
        real = getattr(control, name)

        def command(state: Any, **options: Any) -> Any:
            samples = _debugging(world)._mem_sample
            own: list[Any] = world.kernel.current.own.setdefault(_SAMPLES, [])
            samples[:] = own
            try:
                return real(state, **options)
            finally:
                own[:] = samples
                samples.clear()

        world.patches.set_item(control.Panel.data, name, command)
        return command

    return make


_SAMPLES = "memory samples"
_WHY = "it would look for the simulated process among the machine's; each process has samples of its own"

ROWS = (
    Row("billiard.pool:mem_rss", "max_memory_per_child would measure the test process", _mem_rss),
    Row("celery.worker.control:memsample", _WHY, _sampling("memsample")),
    Row("celery.worker.control:memdump", _WHY, _sampling("memdump")),
)
