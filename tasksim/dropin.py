"""The drop-in: a world without an app of its own, for suites that run Celery's workers in the test's process.

Celery's fixtures and its `start_worker` run as shipped; what is below them is simulated. A worker that a test starts in
a thread is a thread of the test's own process. The world lasts as long as whoever opened it wants, a pytest session
usually.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable
from typing import Any

from tasksim.errors import UsageError
from tasksim.limits import Limits
from tasksim.simulation import Simulation, allowed_hosts, check_arguments, named_cells
from tasksim.world import World

#: One way over a wire, seconds: as on one machine. With none at all what takes a moment in life would take no time, and
#: a suite may say that it does (`assert end - start > 3`).
LATENCY = 50e-6


class DropIn(Simulation):
    """A world for whatever apps and workers the test's own process has. See the API page for the arguments.

    Raises:
        UsageError: an argument that makes no sense.
    """

    def __init__(
        self, *, seed: int = 0, start: Any = None, rabbitmq: str = "4.1", redis: str = "7.2",
        allow: Iterable[str] | None = (), cells: Iterable[str] | None = (), limits: Limits | None = None,
    ) -> None:  # fmt: skip
        versions = {"rabbitmq": rabbitmq, "redis": redis}
        check_arguments(seed, None, versions, limits)
        self.app, self.seed = None, seed
        self._workers, self._concurrency, self._queues, self._beat = {}, None, None, False
        self._changed = {}
        self._world = World(
            None, seed=seed, limits=limits or Limits(), allow=allowed_hosts(allow), start=start,
            cells=named_cells(cells), settings={}, versions=versions,
        )  # fmt: skip
        self._planned, self._collections = False, 0
        self._follow_wrappers: Callable[[], None] = lambda: None

    def __enter__(self) -> DropIn:
        super().__enter__()
        self._ensure_begun()
        self.latency = LATENCY
        self._kernel.agenda.free_looks = 0  # the same for what goes over no wire: each look at the clock takes a tick
        self._world.threads.on_start, self._world.threads.on_end = self._thread_starts, self._thread_ended
        if not gc.get_freeze_count():  # else somebody froze what they want to stay so
            self._world.patches.on_restore(gc.unfreeze)
        gc.freeze()  # what is there now is not looked through again and again
        gc.enable()
        return self

    def imported_before(self, modules: Collection[str]) -> None:
        """Say which modules were there before this world imported Celery's: a tool may wrap what is in the others."""
        self._follow_wrappers = self._world.wrapper_follower(modules)

    def _thread_starts(self) -> None:
        gc.disable()
        self._follow_wrappers()

    # --- garbage

    def collect(self) -> None:
        """Collect garbage, at a moment that is the same in each run; its finalizers act in the test's process.

        Python's own way is off while workers live: it comes at any moment, and in whichever process is running. While
        the test is alone there is nobody to disturb.
        """
        self._collections += 1
        gc.collect(2 if self._collections % 100 == 0 else 1 if self._collections % 10 == 0 else 0)
        if not self.lives():
            gc.enable()

    def _thread_ended(self) -> None:
        """A worker has stopped, say, and suites look whether it has left something open."""
        if not self._planned:
            self._planned = True
            self._kernel.soon(self._kernel.run_in, self._kernel.driver, self._collect_soon)

    def _collect_soon(self) -> None:
        self._planned = False
        self.collect()

    # --- what it holds

    def lives(self) -> list[str]:
        """Names of the simulated processes, and of the threads of the test's own process, that still live."""
        driver = self._kernel.driver
        threads = [f"thread {one.number}" for one in driver.threads if not one.dead]
        return [one.name for one in self._world.unix.processes.values() if not one.dead] + threads

    def end(self) -> None:
        """End the world.

        Raises:
            UsageError: it is not open.
        """
        if not self._world.open:
            raise UsageError("this world has ended already")
        self.__exit__(None, None, None)
