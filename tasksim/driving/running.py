"""A simulation that runs: what all subjects build on."""

from __future__ import annotations

from tasksim.errors import UsageError
from tasksim.idle import Progress
from tasksim.kernel.loop import Kernel
from tasksim.trace.log import Trace
from tasksim.world import World

_NOT_RUNNING = "this simulation is not running; use it within `with Simulation(...) as sim:`"


class Running:
    """The parts of a running simulation."""

    _trace: Trace | None = None
    _world: World
    _kernel: Kernel
    _progress: Progress

    @property
    def trace(self) -> Trace:
        """What has happened so far; after the end all of it.

        Raises:
            UsageError: the simulation has not begun.
        """
        if self._trace is None:
            raise UsageError(_NOT_RUNNING)
        return self._trace

    def _ensure_begun(self) -> None:
        """The first simulated step may be this one.

        Raises:
            UsageError: the simulation is not running.
        """
        if not self._world.open:
            raise UsageError(_NOT_RUNNING)
        self._kernel.start()
