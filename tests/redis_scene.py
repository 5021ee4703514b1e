"""A bare world for tests of Redis: kernel, Unix, network and servers; no Celery, no worker."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

import _pytest.timing

from tasksim.events import Event
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.message import Serials
from tasksim.network import _fakeredis, redis_seam
from tasksim.network.redis import RedisServer, RedisServers
from tasksim.network.wire import Network
from tasksim.patching import clock, names
from tasksim.patching.table import Patches
from tasksim.unix.poll import Poll
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix

EPOCH = 1_700_000_000


class World:
    """What the rows ask for, and a few words for tests."""

    def __init__(self, seed: int = 0) -> None:
        self.kernel = Kernel(UnixProcess(1, "client"), seed=seed)
        self.unix = Unix(self.kernel)
        self.network = Network(self.kernel)
        self.events: list[Event] = []
        self.serials = Serials()
        self.record: Callable[[Event], None] = self.events.append
        self.redis = RedisServers(self.kernel, self.record, self.now, self.serials)
        self.patches = Patches()
        self.clocks = clock.Clocks(self.kernel.agenda)

    def now(self) -> float:
        return self.kernel.now_ns / SECOND

    def install(self) -> None:
        real_poll = select.poll
        self.clocks.set_start(EPOCH * SECOND)
        self.clocks.install()
        self.patches.set(_pytest.timing, "time", clock.real_time)
        self.patches.set(_pytest.timing, "perf_counter", clock.real_monotonic)
        for owner, name, value in (
            (os, "getpid", lambda: self.kernel.current.pid),
            (select, "poll", lambda: Poll(self.unix, real_poll)),
        ):
            self.patches.set(owner, name, value)
        names.replace_sleep(self.patches, self.kernel.sleep)
        self.patches.install(_fakeredis.ROWS, self)
        self.patches.install(redis_seam.ROWS, self)

    def close(self) -> None:
        self.clocks.restore()
        self.patches.restore()
        self.kernel.close()

    # --- words for tests

    @property
    def server(self) -> RedisServer:
        return self.redis.at("localhost", 6379)

    def process(self, name: str, function: Callable[[], object]) -> UnixProcess:
        """Start a program; an error in it fails the test at `sleep`."""
        return self.unix.exec(name, function)

    def sleep(self, seconds: float) -> None:
        before = list(self.unix.processes.values())
        self.kernel.sleep(seconds)
        for process in before:
            if "error" in process.own:
                raise process.own["error"]

    def kill(self, process: UnixProcess) -> None:
        self.unix.kill(process.pid, 9)

    def seen(self, *kinds: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]
