"""What can go wrong with processes and their connections: at once, at a time, or at an event."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tasksim.driving.arguments import duration, is_number
from tasksim.driving.server_faults import ServerFaults
from tasksim.errors import UsageError
from tasksim.events import Started
from tasksim.trace.pattern import Pattern, identity
from tasksim.worker.host import check_way_to_stop


class Faults(ServerFaults):
    """Faults by hand. Each takes `at` (seconds since the start) or `when` (a pattern), or happens at once."""

    def kill(
        self, worker: str | None = None, *, task: Any = None, beat: str | None = None, at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """SIGKILL to a worker with all its pool processes, to the pool process that runs a task, or to a beat."""
        if sum(one is not None for one in (worker, task, beat)) != 1:
            raise UsageError("kill: give worker=NAME or task=TASK_OR_RESULT or beat=NAME")
        if beat is not None:
            self._fault("kill", beat, lambda: self._world.hosts.kill_beat(beat), at, when)
        elif worker is not None:
            self._known(worker, when, at)
            self._fault("kill", worker, lambda: self._world.hosts.kill(worker), at, when)
        else:
            self._fault("kill", identity(self.trace.resolve(task))[1], lambda: self._kill_child(task), at, when)

    def _known(self, worker: str, when: Pattern | None, at: float | None) -> None:
        self._ensure_begun()
        if not isinstance(worker, str):
            raise UsageError(f'worker={worker!r}: give the name of a worker as text, such as "w1"')
        if when is None and at is None:
            self._world.hosts.find(worker)

    def _kill_child(self, task: Any) -> None:
        field, wanted = identity(self.trace.resolve(task))
        names = {one.task_id: one.task for one in self.trace.where(Started)} if field == "task" else {}
        for process, task_id in list(self._world.running.items()):
            if wanted in (task_id, names.get(task_id)):
                self._world.unix.kill(process.pid, signal.SIGKILL)
                return
        raise UsageError(f"kill: no pool process runs {wanted} at {self._world.now():g} s")

    def stop(self, worker: str, how: str = "warm", *, at: float | None = None, when: Pattern | None = None) -> None:
        """SIGTERM ("warm") or SIGQUIT ("cold") to a worker's main process."""
        check_way_to_stop(how)
        self._known(worker, when, at)
        self._fault(f"stop {how}", worker, lambda: self._world.hosts.stop(worker, how), at, when)

    def _wires(self, worker: str | None, client: bool, server: str | None) -> Callable[[], list[Any]]:
        if (worker is None) == (not client):
            raise UsageError("give worker=NAME or client=True")

        def find() -> list[Any]:
            processes: list[Any] = [self._world.driver] if worker is None else self._world.hosts.find(worker).processes
            wires = self._world.network.of(processes)
            if server is None:
                return wires
            names = [one.name for one in self._world.servers(server)]
            return [wire for wire in wires if wire.server.name in names]

        return find

    def cut(
        self, worker: str | None = None, *, client: bool = False, server: str | None = None, at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """Cut each connection of a worker (or of the test) to any server."""
        find = self._wires(worker, client, server)
        self._fault("cut", worker or "client", lambda: [wire.cut() for wire in find()], at, when)

    def freeze(
        self, worker: str | None = None, *, client: bool = False, server: str | None = None, at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """Half-open: nothing passes on its connections any more, and nobody is told."""
        find = self._wires(worker, client, server)
        self._fault("freeze", worker or "client", lambda: [wire.freeze() for wire in find()], at, when)

    def thaw(
        self, worker: str | None = None, *, client: bool = False, server: str | None = None, at: float | None = None,
        when: Pattern | None = None,
    ) -> None:  # fmt: skip
        """What was held on frozen connections passes now."""
        find = self._wires(worker, client, server)
        self._fault("thaw", worker or "client", lambda: [wire.thaw() for wire in find()], at, when)

    def jump_clock(self, seconds: float, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The time of day is put forward (or back, if negative) on all hosts but those of the servers.

        Monotonic clocks, and so whoever sleeps or waits with a time-out, notice nothing of it.
        """
        seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not is_number(seconds) or not float(seconds).is_integer():
            raise UsageError(f"jump_clock({seconds!r}): give whole seconds, as a number")
        whole = int(seconds)
        self._fault("jump clock", f"{whole:+d} s", lambda: self._world.clocks.jump(whole), at, when)

    @property
    def latency(self) -> float:
        """Seconds that a message takes on a wire, one way."""
        if self._trace is None:
            self._ensure_begun()
        return self._world.network.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._ensure_begun()
        self._world.network.latency = duration("sim.latency", seconds)
