"""Starting and looking at simulated processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from tasksim.broker.snapshot import QueueRow
from tasksim.driving.arguments import check_concurrency, check_name, instant, mapping
from tasksim.driving.timing import Timing
from tasksim.errors import UsageError
from tasksim.unix.process import UnixProcess
from tasksim.worker.host import WorkerHandle
from tasksim.worker.options import check_beat, check_worker

#: How long a worker or a beat is waited for, seconds.
_PATIENCE = 300.0


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
    #: Names of workers that are planned to start.
    _coming: set[str]

    @property
    def workers(self) -> Mapping[str, WorkerHandle]:
        """The workers by name, the dead ones included."""
        self._ensure_begun()
        return dict(self._world.hosts.workers)

    def start_worker(self, name: str, *, at: float | None = None, wait: bool = False, **options: Any) -> None:
        """Start a worker; see the API page for the options."""
        self._ensure_begun()
        hosts = self._world.hosts
        place = f"start_worker({name!r}"
        check_name("start_worker", name, {"beat", *hosts.beats})
        options.setdefault("concurrency", self._concurrency)
        check_concurrency(f"{place}, concurrency", options["concurrency"])
        options["conf"] = mapping(f"{place}, conf", options.get("conf"), '{"worker_prefetch_multiplier": 1}')
        if self._queues is not None and options.get("queues") is None:
            options["queues"] = self._queues
        start = options.pop("start", None)
        at = start if at is None else at
        at = None if at is None else instant(f"{place}, at", at)
        check_worker(name, self._world.app, options)
        if options.get("beat"):
            options.setdefault("schedule_filename", str(self._world.directory() / f"schedule of {name}"))
        begun: list[WorkerHandle] = []
        if at is not None:
            self._coming.add(name)
            self._plan(at, lambda: begun.append(hosts.start_worker(name, **options)))
        else:
            begun.append(hosts.start_worker(name, **options))
        if wait:
            self._wait(lambda: begun and begun[0].has_begun, self._patience(at), what=f"the start of worker {name}")
            self._complain_if_dead(name)

    def _patience(self, at: float | None) -> float:
        """How long a start is waited for."""
        return _PATIENCE + (0.0 if at is None else max(0.0, at - self.now))

    def start_beat(self, name: str = "beat", *, at: float | None = None, wait: bool = False, **options: Any) -> None:
        """Start beat as a process; its schedule file outlives it within the simulation. `wait`: until it is ready.

        One of another name is on another host: it has a schedule file of its own.
        """
        self._ensure_begun()
        hosts = self._world.hosts
        check_name("start_beat", name, hosts.workers)
        at = None if at is None else instant(f"start_beat({name!r}, at", at)
        check_beat(self._world.app, options)
        options.setdefault("schedule", str(self._world.directory() / ("schedule" if name == "beat" else name)))
        begun: list[UnixProcess] = []
        if at is None:
            begun.append(hosts.start_beat(name, **options))
        else:
            self._plan(at, lambda: begun.append(hosts.start_beat(name, **options)))
        if wait:
            self._wait(
                lambda: begun and (begun[0].dead or begun[0] in hosts.beats_up), self._patience(at),
                what=f"the start of beat {name!r}",
            )  # fmt: skip
            self._complain_if_beat_is_dead(name)

    def stop_beat(self, name: str = "beat") -> int | None:
        """SIGTERM to beat; wait for its end and give its exit code."""
        self._ensure_begun()
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
        if not callable(function):
            raise UsageError(f"run_in({function!r}): give a function, and then its arguments")
        check_name("run_in", name, {*self._world.hosts.workers, *self._world.hosts.beats})

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

    def _complain_if_dead(self, name: str) -> None:
        """A worker that ended before it was ready, and by no signal, has been told something that it cannot do."""
        handle = self._world.hosts.workers[name]
        if not handle.was_up and (handle.error is not None or (handle.exitcode or 0) > 0):
            reason = repr(handle.error) if handle.error is not None else f"it ended with exit code {handle.exitcode}"
            raise UsageError(f"worker {name} did not start: {reason}") from handle.error

    def _complain_if_beat_is_dead(self, name: str) -> None:
        process = self._world.hosts.beats[name]
        if process.dead and os.waitstatus_to_exitcode(process.status or 0) > 0:
            error = process.own.get("error")
            reason = f"it ended with exit code {os.waitstatus_to_exitcode(process.status or 0)}"
            raise UsageError(f"beat {name!r} did not start: {reason if error is None else repr(error)}") from error
