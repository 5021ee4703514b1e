"""A simulation that runs: what all subjects build on."""

from __future__ import annotations

from tasksim.errors import UsageError
from tasksim.idle import Progress
from tasksim.kernel.loop import Kernel
from tasksim.trace.log import Trace
from tasksim.world import World


class Running:
    """The parts of a running simulation.

    Attributes:
        trace: what has happened so far.
    """

    trace: Trace
    _world: World
    _kernel: Kernel
    _progress: Progress

    def _ensure_begun(self) -> None:
        """The first simulated step may be this one.

        Raises:
            UsageError: the simulation is not running.
        """
        if not self._world.open:
            raise UsageError("this simulation is not running; use it within `with Simulation(...) as sim:`")
        self._kernel.start()
