"""Parts of the standard library that would wait, or warn, in the real world."""

from __future__ import annotations

import _thread
import multiprocessing.connection
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from tasksim.patching.asyncio_loop import check_running, make_selector, run_once, write_to_self
from tasksim.patching.clock import real_monotonic
from tasksim.patching.table import Row

#: Seconds between two looks at real pipes: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.1
#: Real seconds that a real program is given at each look whether it has ended.
LOOK = 0.02


def _wait_for_pipes(world: Any) -> object:
    real, kernel, gate = multiprocessing.connection.wait, world.kernel, world.gate

    def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
        if not gate.inside():
            return real(object_list, timeout)
        objects, pause = list(object_list), FIRST_PAUSE
        deadline_ns = None if timeout is None else kernel.due_ns(timeout)
        while not (ready := real(objects, 0)) and (deadline_ns is None or kernel.now_ns < deadline_ns):
            due_ns = kernel.due_ns(pause)
            kernel.park(due_ns if deadline_ns is None else min(due_ns, deadline_ns), "a real pipe")
            pause = min(2 * pause, LONGEST_PAUSE)
        return ready

    pool = sys.modules.get("multiprocessing.pool")
    if pool is not None:
        world.patches.set(pool, "wait", wait)
    return wait


def _wait_for_program(world: Any) -> object:
    real, poll, gate = vars(subprocess.Popen)["_wait"], subprocess.Popen.poll, world.gate

    def wait(self: Any, timeout: float | None) -> Any:
        if timeout is None or not gate.inside():
            return real(self, timeout)
        deadline, pause = real_monotonic() + timeout, _thread.allocate_lock()
        pause.acquire()
        while poll(self) is None:
            if real_monotonic() >= deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            pause.acquire(timeout=FIRST_PAUSE)
        return self.returncode

    return wait


def _look_at_program(world: Any) -> object:
    real, gate = subprocess.Popen.poll, world.gate

    def poll(self: Any) -> Any:
        ended = real(self)
        if ended is None and gate.inside():
            pause = _thread.allocate_lock()
            pause.acquire()
            pause.acquire(timeout=LOOK)
            ended = real(self)
        return ended

    return poll


ROWS: tuple[Row, ...] = (
    Row("subprocess:Popen._wait", "a real program needs real time for its end", _wait_for_program),
    Row("selectors:DefaultSelector", "an event loop made inside waits in virtual time", make_selector),
    Row("asyncio.selector_events:BaseSelectorEventLoop._write_to_self", "as above: it is woken", write_to_self),
    Row(
        "asyncio.base_events:BaseEventLoop._check_running",
        "two processes that share a loop are told how not to; else asyncio's own method answers",
        check_running,
    ),
    Row("asyncio.base_events:BaseEventLoop._run_once", "a loop from before waits in virtual time as well", run_once),
    Row("multiprocessing.connection:wait", "a pool of threads waits for a real pipe", _wait_for_pipes),
    Row("subprocess:Popen.poll", "who asks a real program again and again lets it work meanwhile", _look_at_program),
)
