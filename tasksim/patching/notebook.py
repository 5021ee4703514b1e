"""IPython and Jupyter: a simulation that stays open from cell to cell, and output that a real thread sends.

Between two cells the notebook's own event loop runs in the thread of the simulation. It must see real time and real
locks, so the world pauses at the end of each cell and goes on with the next one.
"""

from __future__ import annotations

import asyncio.events
import sys
from collections.abc import Callable
from typing import Any

from tasksim.patching.clock import real_monotonic
from tasksim.patching.table import Patches, Row, find


def shell() -> Any:
    """The IPython that runs this program, or None."""
    module = sys.modules.get("IPython.core.getipython")
    return None if module is None else module.get_ipython()


def own_loop() -> Any:
    """The event loop in which a notebook's cell runs, or None."""
    return None if shell() is None else asyncio.events._get_running_loop()


def watch_cells(patches: Patches, pause: Callable[[], None], resume: Callable[[], None]) -> None:
    """Call `pause` at the end of each cell and `resume` at the beginning of the next, until all is put back."""
    running = shell()
    if running is None:
        return
    events = running.events

    def begins(_: Any = None) -> None:
        resume()

    def ends(_: Any = None) -> None:
        pause()

    events.register("pre_run_cell", begins)
    events.register("post_run_cell", ends)
    _keep_real_time(patches)
    patches.on_restore(lambda: events.unregister("pre_run_cell", begins))
    patches.on_restore(lambda: events.unregister("post_run_cell", ends))


def _keep_real_time(patches: Patches) -> None:
    """The timers of the notebook's own event loop, which runs while a cell awaits, are in real time."""
    loop = own_loop()
    if loop is not None and hasattr(loop, "__dict__"):
        loop.time = real_monotonic
        patches.on_restore(lambda: vars(loop).pop("time", None))


def _for_real(place: str) -> Row:
    def make(world: Any) -> object:
        owner, name = find(place)
        real, gate = getattr(owner, name), world.gate

        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            if not gate.inside():
                return real(self, *arguments, **options)
            with gate.left():
                return real(self, *arguments, **options)

        method.__name__ = name
        return method

    why = "output goes to a real thread: who waits for it waits for real, and a task's pid is not the notebook's"
    return Row(place, why, make)


def rows() -> tuple[Row, ...]:
    """The rows that a notebook needs, if this is one."""
    if "ipykernel.iostream" not in sys.modules:
        return ()
    return tuple(
        _for_real(f"ipykernel.iostream:{name}")
        for name in ("OutStream.write", "OutStream.flush", "IOPubThread.send_multipart", "IOPubThread.schedule")
    )
