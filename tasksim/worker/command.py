"""Celery's command line, called in a process that goes on living.

`celery.bin.celery` adds what the app's `user_options` say to its commands, once for each call: in life, once in each
program. Here each call begins with the commands as they were.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from celery.app.base import Celery

from tasksim.errors import UnsupportedError
from tasksim.patching.table import Row
from tasksim.worker.world import World

_MODULE = "celery.bin.celery"


class Commands:
    """The commands' options and functions, as they were at first."""

    def __init__(self) -> None:
        self._first: dict[Any, tuple[list[Any], Any]] | None = None

    def renew(self) -> None:
        """Put them back."""
        if self._first is None:
            commands = vars(sys.modules[_MODULE])["celery"].commands.values()
            self._first = {one: (list(one.params), one.callback) for one in commands}
        for one, (options, function) in self._first.items():
            one.params[:], one.callback = options, function


def _start(world: World) -> object:
    real, commands = Celery.start, Commands()

    def renew() -> None:
        if _MODULE in sys.modules:
            commands.renew()

    def start(self: Any, argv: Any = None) -> Any:
        importlib.import_module(_MODULE)  # as `real` does
        renew()
        return real(self, argv)

    renew()
    world.patches.on_restore(renew)
    if _MODULE in sys.modules:  # or it is called without an app: CliRunner().invoke(celery, ["-A", "proj", ...])
        group = vars(sys.modules[_MODULE])["celery"]
        callback = group.callback

        def renewed(*arguments: Any, **options: Any) -> Any:
            renew()
            return callback(*arguments, **options)

        world.patches.set(group, "callback", renewed)
    return start


def _start_node(_: World) -> object:
    def start_node(self: Any, *_arguments: Any, **_options: Any) -> None:
        raise UnsupportedError(
            f"celery multi starts {self.name} as a real process, which would work with the real broker; "
            "Simulation(workers=...) and sim.start_worker start simulated ones"
        )

    return start_node


ROWS = (
    Row("celery.app.base:Celery.start", "a command's call leaves the app's options in the commands", _start),
    Row("celery.apps.multi:Node._waitexec", "celery multi starts real processes, on the real broker", _start_node),
)
