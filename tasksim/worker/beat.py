"""Beat as a process, and how it is found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import celery.apps.beat
import celery.beat  # noqa: F401 (places of rows)

from tasksim.errors import UsageError
from tasksim.kernel.process import Process
from tasksim.patching.table import Row
from tasksim.unix.process import UnixProcess
from tasksim.unix.thread import event_class, thread_class
from tasksim.worker.world import World


class Beats:
    """All beats of a simulation, by name.

    Args:
        app: gives the app that a process has, from a function that makes it (or None) and settings of its own.
    """

    def __init__(self, world: World, app: Callable[[Any, Any], Any]) -> None:
        self._world, self._app_of = world, app
        self.beats: dict[str, UnixProcess] = {}
        self.beats_up: list[Process] = []

    def beat_became_up(self) -> None:
        """Beat says that it begins."""
        self.beats_up.append(self._world.kernel.current)

    def start_beat(self, name: str = "beat", *, app: Callable[[], Any] | None = None,
                   before: Callable[[], None] | None = None, **options: Any) -> UnixProcess:  # fmt: skip
        """Start beat as a process."""
        running = self.beats.get(name)
        if running is not None and not running.dead:
            raise UsageError(
                f"a beat named {name!r} runs already; stop or kill it first. Two at one time, by mistake, "
                'have two names: start_beat("beat2")'
            )

        def main() -> object:
            if before is not None:
                before()
            return run_beat(self._app_of(app, None), options)

        process = self.beats[name] = self._world.unix.exec(name, main)
        return process

    def find_beat(self, name: str) -> UnixProcess:
        """A beat by name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.beats:
            raise UsageError(f"there is no beat {name!r}; start it with start_beat() or Simulation(beat=True)")
        return self.beats[name]

    def kill_beat(self, name: str) -> None:
        """SIGKILL to a beat."""
        self._world.unix.kill_tree(self.find_beat(name))


def run_beat(app: Any, options: Mapping[str, Any]) -> object:
    """What `celery beat` does, in the process that runs."""
    options = dict(options)
    options.setdefault("loglevel", "INFO")
    app.Beat(quiet=True, redirect_stdouts=False, **options).run()
    return 0


ROWS = (
    Row(
        "celery.beat:Thread",
        "beat's remote control is a thread of the simulated process",
        lambda world: thread_class(world.kernel),
        needs="celery>=5.7",
    ),
    Row(
        "celery.beat:Event",
        "beat's threads wait for it in virtual time",
        lambda world: event_class(world.kernel),
        needs="celery>=5.7",
    ),
)
