"""What can go wrong: at once, at a time, or at an event."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from tasksim.driving.timing import Timing
from tasksim.errors import UsageError
from tasksim.events import Event, Fault, Started
from tasksim.trace.pattern import Pattern, identity
from tasksim.worker.settings import AMQP

#: Events that are recorded by a worker's own code, in a state in which its process may die.
_TOLD_BY_WORKERS = frozenset(
    (
        "Received", "Scheduled", "Accepted", "Started", "Finished", "StateStored", "HookCalled", "Succeeded", "Failed",
        "Retried", "Revoked", "Expired", "TaskRejected", "TaskUnknown", "WorkerUp", "WorkerStopping", "BeatSent",
    )
)  # fmt: skip


class Faults(Timing):
    """Faults by hand. Each takes `at` (seconds since the start) or `when` (a pattern), or happens at once."""

    def _fault(
        self, kind: str, target: str, action: Callable[[], object], at: float | None, when: Pattern | None
    ) -> None:
        self._ensure_begun()
        if at is not None and when is not None:
            raise UsageError(f"{kind}: give at= or when=, not both")

        def act() -> None:
            who = self._kernel.current.name if when is not None else "client"
            self.trace.record(Fault(self._world.now(), who, kind, target))
            action()

        if when is not None:
            self._when(when, act)
        elif at is not None:
            self._plan(at, act)
        else:
            act()

    def _when(self, pattern: Pattern, act: Callable[[], None]) -> None:
        """Act at an occurrence: at once for what a worker tells, else before anybody else runs.

        A server records in the middle of what it does; to end a connection under its hands would be a fault of ours.
        """
        counter = pattern.arm()

        def look(event: Event) -> None:
            if counter.matches(event):
                stop()
                if type(event).__name__ in _TOLD_BY_WORKERS:
                    act()
                else:
                    self._kernel.agenda.urgent(act)

        stop = self.trace.subscribe(pattern.kind, look)

    def kill(
        self, worker: str | None = None, *, task: Any = None, at: float | None = None, when: Pattern | None = None
    ) -> None:
        """SIGKILL to a worker with all its pool processes, or to the pool process that runs a task."""
        if (worker is None) == (task is None):
            raise UsageError("kill: give worker=NAME or task=TASK_OR_RESULT")
        if worker is not None:
            self._known(worker, when, at)
            self._fault("kill", worker, lambda: self._world.hosts.kill(worker), at, when)
        else:
            self._fault("kill", identity(self.trace.resolve(task))[1], lambda: self._kill_child(task), at, when)

    def _known(self, worker: str, when: Pattern | None, at: float | None) -> None:
        self._ensure_begun()
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
        self._known(worker, when, at)
        self._fault(f"stop {how}", worker, lambda: self._world.hosts.stop(worker, how), at, when)

    def _wires(self, worker: str | None, client: bool, server: str | None) -> Callable[[], list[Any]]:
        if (worker is None) == (not client):
            raise UsageError("give worker=NAME or client=True")

        def find() -> list[Any]:
            processes: list[Any] = [self._world.driver] if worker is None else self._world.hosts.find(worker).processes
            wires = self._world.network.of(processes)
            names = self._world.broker_names() if server == "broker" else [server]
            return wires if server is None else [wire for wire in wires if wire.server.name in names]

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

    def refuse(self, seconds: float | None = None, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The broker refuses new connections, for so long or until `accept`."""
        network, names = self._world.network, self._world.broker_names

        def act() -> None:
            self._world.find_broker()
            network.refusing.update(names())
            if seconds is not None:
                self._plan(self._world.now() + seconds, network.refusing.clear)

        self._fault("refuse", "broker", act, at, when)

    def accept(self, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The broker accepts connections again."""
        self._fault("accept", "broker", self._world.network.refusing.clear, at, when)

    def alarm(
        self,
        seconds: float | None = None,
        *,
        reason: str = "low on memory",
        at: float | None = None,
        when: Pattern | None = None,
    ) -> None:
        """RabbitMQ runs low on memory or disk: who publishes is blocked, for so long or until `clear_alarm`."""
        if self._world.rules != AMQP:
            raise UsageError("alarm: Redis has none; sim.refuse() and sim.freeze() stop a broker of either kind")
        brokers = self._world.brokers

        def act() -> None:
            self._world.find_broker()
            for server in brokers():
                server.raise_alarm(reason)
            if seconds is not None:
                self._plan(self._world.now() + seconds, self._clear_alarm)

        self._fault("alarm", "broker", act, at, when)

    def clear_alarm(self, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The alarm is over: what blocked clients have published is taken in."""
        self._fault("clear_alarm", "broker", self._clear_alarm, at, when)

    def _clear_alarm(self) -> None:
        for server in self._world.brokers():
            server.clear_alarm()

    def restart_broker(self, down: float = 0.0, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The broker goes down, and comes up again after `down` seconds with what is durable."""

        def act() -> None:
            self._world.find_broker()
            servers = self._world.brokers()
            for server in servers:
                server.stop()
            self._plan(self._world.now() + down, lambda: [server.start() for server in servers])

        self._fault("restart", "broker", act, at, when)

    @property
    def latency(self) -> float:
        """Seconds that a message takes on a wire, one way."""
        return self._world.network.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._ensure_begun()
        self._world.network.latency = seconds
