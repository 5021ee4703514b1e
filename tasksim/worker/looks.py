"""Where Celery, kombu and billiard look at the clock several times for each task.

Any look is served: the C function behind `time.monotonic` is replaced (`patching.clock`), by one in Python, which takes
ten times as long. These three functions have the clock as a default argument. They look once a turn of a loop that also
waits, so nobody has to count their looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tasksim.patching.table import Row, find
from tasksim.worker.world import World

_PLACES = (
    "kombu.asynchronous.timer:Timer.__iter__.__defaults__",
    "billiard.pool:Worker.workloop.__defaults__",
    "celery.app.trace:build_tracer.__defaults__",
)


def _directly(place: str) -> Callable[[World], object]:
    def make(world: World) -> object:
        function, name = find(place)
        monotonic = partial(getattr, world.kernel.agenda, "monotonic")
        return tuple(monotonic if one is time.monotonic else one for one in getattr(function, name))

    return make


ROWS = tuple(Row(place, "for speed: the same clock, without the way through C", _directly(place)) for place in _PLACES)
