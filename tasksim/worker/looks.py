"""Where Celery, kombu and billiard look at the clock several times for each task.

Any look is served: the C function behind `time.monotonic` is replaced (`patching.clock`), by one in Python, which takes
ten times as long. These three functions have the clock as a default argument. They look once a turn of a loop that also
waits, so nobody has to count their looks.

`Celery.now`, which each result asks, turns the time into another zone by way of dateutil: at one instant it is asked of
Celery once.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import celery.app.base as base

from tasksim.patching.clock import is_travelling
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
        defaults = getattr(function, name)  # None where a tool (Sentry's, say) has put a function of its own there
        return defaults and tuple(monotonic if one is time.monotonic else one for one in defaults)

    return make


def _now(world: World) -> object:
    real, gate, clocks = base.Celery.now, world.gate, world.clocks
    # Not one of freezegun's, which shows its own time.
    theirs = next(one for one in datetime.datetime.__mro__ if type(one) is type)
    answer: tuple[int, Any, Any] = 0, None, None

    def now(self: Any) -> datetime.datetime:
        nonlocal answer
        if not gate.inside() or base.datetime is not theirs or is_travelling():
            present: datetime.datetime = real(self)
            return present
        # The time of day: a clock that jumps shows another one at the same instant.
        instant_ns, zone = clocks.epoch_ns + clocks.now_ns(), vars(self).get("timezone")
        if answer[0] != instant_ns or answer[1] is not zone or zone is None:
            answer = instant_ns, zone, real(self)
        shown: datetime.datetime = answer[2]
        return shown

    return now


_WHY = "for speed: the same clock, without the way through C"

ROWS = (
    *(Row(place, _WHY, _directly(place)) for place in _PLACES),
    Row("celery.app.base:Celery.now", "for speed: at one instant it is the same time", _now),
)
