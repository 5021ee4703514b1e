"""Starting and looking at simulated processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from tasksim.broker.snapshot import QueueRow
from tasksim.driving.timing import Timing
from tasksim.errors import UsageError
from tasksim.unix.process import UnixProcess
from tasksim.worker.host import BOOTING, WorkerHandle


class ScriptHandle:
    """A function that runs in a simulated process of its own."""

    def __init__(self, simulation: Timing, process: UnixProcess) -> None:
        self._simulation, self.process = simulation, process
        self.outcome: list[Any] = []

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.process.dead

    def result(self) -> Any:
        """Wait for its end; what it returned, or its exception raised here.

        Raises:
            UsageError: it was killed, or exited, and so has no result.
        """
        self._simulation.run_until(lambda: self.done)
        error = self.process.own.get("error")
        if error is not None:
            raise error
        if not self.outcome:
            code = os.waitstatus_to_exitcode(self.process.status or 0)
            how = f"exited with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
            raise UsageError(f"{self.process.name} {how} and so has no result; ask `done` whether it has ended")
        return self.outcome[0]


class Processes(Timing):
    """Workers, beat, and scripts."""

    _concurrency: int | None
    _queues: list[str] | None

    @property
    def workers(self) -> Mapping[str, WorkerHandle]:
        """The workers by name, the dead ones included."""
        self._ensure_begun()
        return dict(self._world.hosts.workers)

    def start_worker(self, name: str, *, at: float | None = None, wait: bool = False, **options: Any) -> None:
        """Start a worker; see the API page for the options."""
        self._ensure_begun()
        options.setdefault("concurrency", self._concurrency)
        if self._queues is not None and options.get("queues") is None:
            options["queues"] = self._queues
        start = options.pop("start", None)
        at = start if at is None else at
        if options.get("beat"):
            options.setdefault("schedule_filename", str(self._world.directory() / f"schedule of {name}"))
        if at is not None:
            self._plan(at, lambda: self._world.hosts.start_worker(name, **options))
        else:
            self._world.hosts.start_worker(name, **options)
        if wait:
            hosts = self._world.hosts
            self._wait(lambda: name in hosts.workers and hosts.workers[name].state != BOOTING, 300.0)
            self._complain_about_the_dead()

    def start_beat(self, name: str = "beat", *, at: float | None = None, wait: bool = False, **options: Any) -> None:
        """Start beat as a process; its schedule file outlives it within the simulation. `wait`: until it is ready.

        One of another name is on another host: it has a schedule file of its own.
        """
        self._ensure_begun()
        options.setdefault("schedule", str(self._world.directory() / ("schedule" if name == "beat" else name)))
        hosts = self._world.hosts
        if at is None:
            hosts.start_beat(name, **options)
        else:
            self._plan(at, lambda: hosts.start_beat(name, **options))
        if wait:
            self._wait(lambda: hosts.beats.get(name) in hosts.beats_up, 300.0)

    def stop_beat(self, name: str = "beat") -> int | None:
        """SIGTERM to beat; wait for its end and give its exit code."""
        process = self._world.hosts.find_beat(name)
        if not process.dead:
            self._world.unix.kill(process.pid, signal.SIGTERM)
            self._wait(lambda: process.dead, None)
        return os.waitstatus_to_exitcode(process.status or 0)

    @property
    def current_process(self) -> UnixProcess:
        """The simulated process in which the caller runs; it has a name and a pid."""
        return self._world.kernel.process_of_caller()  # type: ignore[return-value]

    def run_in(self, function: Callable[..., Any], *arguments: Any, name: str = "script") -> ScriptHandle:
        """Run a function in a simulated process of its own, such as a second client."""
        self._ensure_begun()

        def body() -> None:
            handle.outcome.append(function(*arguments))

        handle = ScriptHandle(self, self._world.unix.exec(name, body))
        self._progress.scripts.append(handle.process)
        return handle

    @property
    def queues(self) -> Mapping[str, QueueRow]:
        """The queues of the app's broker by name."""
        self._ensure_begun()
        return self._world.queue_rows()

    def _complain_about_the_dead(self) -> None:
        for handle in self._world.hosts.workers.values():
            if handle.error is not None:
                raise UsageError(f"worker {handle.name} did not start: {handle.error!r}") from handle.error
