"""The simulation, as a test drives it."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from tasksim.errors import Stuck, UsageError
from tasksim.events import Event, Fault, Started
from tasksim.idle import Progress
from tasksim.kernel.loop import SECOND
from tasksim.limits import Limits
from tasksim.trace.log import Trace
from tasksim.trace.pattern import Pattern, identity
from tasksim.unix.process import UnixProcess
from tasksim.worker.host import BOOTING, WorkerHandle
from tasksim.world import LEAD_NS, World

Workers = int | Iterable[str] | Mapping[str, Mapping[str, Any]]
Condition = float | Pattern | Callable[[], object]


def load_app(app: Any) -> Any:
    """The app itself, or the one at "package.module:attribute".

    Raises:
        UsageError: there is none.
    """
    if not isinstance(app, str):
        if not hasattr(app, "tasks"):
            raise UsageError(f'app={app!r} is no Celery app; give one, or "package.module:attribute"')
        return app
    module, colon, name = app.partition(":")
    try:
        found = importlib.import_module(module)
        return getattr(found, name if colon else "app")
    except (ImportError, AttributeError) as exc:
        raise UsageError(f'app={app!r} cannot be had ({exc}); write "package.module:attribute"') from exc


def _worker_options(workers: Workers) -> dict[str, dict[str, Any]]:
    if isinstance(workers, bool) or not isinstance(workers, (int, Iterable)):
        raise UsageError(f"workers={workers!r}: give a number, a list of names, or a mapping of name to options")
    if isinstance(workers, int):
        return {f"w{number}": {} for number in range(1, workers + 1)}
    if isinstance(workers, Mapping):
        return {str(name): dict(options or {}) for name, options in workers.items()}
    return {str(name): {} for name in workers}


class ScriptHandle:
    """A function that runs in a simulated process of its own."""

    def __init__(self, simulation: Simulation, process: UnixProcess) -> None:
        self._simulation, self.process = simulation, process
        self.outcome: list[Any] = []

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.process.dead

    def result(self) -> Any:
        """Wait for its end; what it returned, or its exception raised here."""
        self._simulation.run_until(lambda: self.done)
        error = self.process.own.get("error")
        if error is not None:
            raise error
        return self.outcome[0] if self.outcome else None


class Simulation:
    """A Celery app with its workers and servers, in this process, on a virtual clock.

    Use it as a context manager. Everything it replaces is put back at the end. The arguments are those of the page
    docs/reference/api.md; all times are seconds.

    Raises:
        UsageError: an argument that makes no sense.
        UnsupportedError: the app's broker is not simulated.
    """

    def __init__(
        self, app: Any, *, workers: Workers = 1, concurrency: int | None = None, seed: int = 0, start: Any = None,
        broker: str | None = None, backend: str | None = None, rabbitmq: str = "4.1", redis: str = "7.2",
        beat: bool = False, allow: Iterable[str] = (), cells: Iterable[str] = (), limits: Limits | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.app = load_app(app)
        self._workers, self._concurrency, self._beat = _worker_options(workers), concurrency, beat
        changed = dict(settings or {})
        if broker is not None:
            changed["broker_url"] = broker
        if backend is not None:
            changed["result_backend"] = backend
        self.seed = seed
        self._world = World(
            self.app, seed=seed, limits=limits or Limits(), allow=allow, start=start, cells=cells, settings=changed,
            versions={"rabbitmq": rabbitmq, "redis": redis},
        )  # fmt: skip
        self._beat_process: UnixProcess | None = None

    # --- up and down

    def __enter__(self) -> Simulation:
        if self._world.open:
            raise UsageError("this simulation is running already; make another one")
        self._world.set_up(self._begin)
        self._kernel, self.trace = self._world.kernel, self._world.trace
        self._progress = Progress(self._world)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._world.tear_down()

    def _begin(self) -> None:
        """The first simulated step: read the clock's start, and let the workers boot before it."""
        world = self._world
        world.set_start(LEAD_NS)
        world.clocks.reassert()
        for name, options in self._workers.items():
            self.start_worker(name, **options)
        if self._beat:
            self.start_beat()
        self._wait(lambda: all(one.state != BOOTING for one in world.hosts.workers.values()), None)
        self._complain_about_the_dead()
        if self._kernel.now_ns < LEAD_NS:
            self._kernel.park(LEAD_NS, "the start")

    def _complain_about_the_dead(self) -> None:
        for handle in self._world.hosts.workers.values():
            if handle.error is not None:
                raise UsageError(f"worker {handle.name} did not start: {handle.error!r}") from handle.error

    def _ensure_begun(self) -> None:
        if not self._world.open:
            raise UsageError("this simulation is not running; use it within `with Simulation(...) as sim:`")
        kernel = self._kernel
        if kernel.begin is not None:
            begin, kernel.begin = kernel.begin, None
            begin()

    # --- time

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        self._ensure_begun()
        return self._world.now()

    def run(self, until: Condition | None = None, *, limit: float | None = None) -> None:
        """Run until nothing is left to do, or until a time, a pattern or a condition.

        Args:
            until: seconds since the start, a pattern, or a function without arguments.
            limit: virtual seconds that this may take.

        Raises:
            Stuck: the limit is reached, or nothing happens although work is left.
            UsageError: beat runs and `until` is not given: it would never end.
        """
        self._ensure_begun()
        if until is None:
            if self._beat_process is not None and not self._beat_process.dead:
                raise UsageError("beat runs, so there is always something left to do: give run(until=...)")
            self._run_until_idle(limit)
        elif isinstance(until, (int, float)):
            self._park_until(round(until * SECOND) + LEAD_NS)
        else:
            self.run_until(until, limit=limit)

    def _run_until_idle(self, limit: float | None) -> None:
        if self._kernel.current is not self._kernel.driver:
            raise UsageError("only the test itself can run the simulation, not a task")
        deadline_ns = None if limit is None else self._kernel.due_ns(limit)
        self._progress.until_idle = True
        try:
            while self._progress.until_idle:
                woken = self._kernel.park(deadline_ns, "the end of all work")
                if not woken and self._progress.until_idle:
                    raise Stuck(f"run(limit={limit:g}): work is left after {limit:g} virtual seconds")
        finally:
            self._progress.until_idle = False

    def _park_until(self, due_ns: int) -> None:
        while self._kernel.now_ns < due_ns:
            self._kernel.park(due_ns, "its time to come")

    def run_until(self, condition: Pattern | Callable[[], object], *, limit: float | None = None) -> None:
        """Run until a pattern is seen from now on, or a function returns something true.

        The function is asked whenever the clock is about to move.
        """
        self._ensure_begun()
        if isinstance(condition, Pattern):
            counter, seen = condition.arm(), []
            stop = self.trace.subscribe(condition.kind, lambda event: seen.append(1) if counter.matches(event) else None)
            try:
                self._wait(lambda: bool(seen), limit)
            finally:
                stop()
        else:
            self._wait(condition, limit)

    def _wait(self, condition: Callable[[], object], limit: float | None) -> None:
        kernel = self._kernel
        deadline_ns = None if limit is None else kernel.due_ns(limit)
        before = kernel.before_advance

        def look(due_ns: int | None) -> bool:
            if condition():
                kernel.wake(kernel.driver_thread)
                return True
            return before(due_ns)

        while not condition():
            kernel.before_advance = look
            try:
                woken = kernel.park(deadline_ns, "a condition")
            finally:
                kernel.before_advance = before
            if not woken and not condition():
                raise Stuck(f"the condition did not come true within {limit} virtual seconds")

    def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        self._ensure_begun()
        self._park_until(self._kernel.due_ns(seconds))

    def at(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function at this time since the start, in no process; at once if that is past."""
        self._ensure_begun()
        self._progress.planned += 1

        def act() -> None:
            self._progress.planned -= 1
            function()

        self._kernel.at(round(seconds * SECOND) + LEAD_NS, act)

    # --- processes

    @property
    def workers(self) -> Mapping[str, WorkerHandle]:
        """The workers by name, the dead ones included."""
        self._ensure_begun()
        return dict(self._world.hosts.workers)

    def start_worker(self, name: str, *, at: float | None = None, wait: bool = False, **options: Any) -> None:
        """Start a worker; see the API page for the options."""
        self._ensure_begun()
        options.setdefault("concurrency", self._concurrency)
        start = options.pop("start", None)
        at = start if at is None else at
        if at is not None:
            self.at(at, lambda: self._world.hosts.start_worker(name, **options) and None)
        else:
            self._world.hosts.start_worker(name, **options)
        if wait:
            hosts = self._world.hosts
            self._wait(lambda: name in hosts.workers and hosts.workers[name].state != BOOTING, 300.0)
            self._complain_about_the_dead()

    def start_beat(self, *, at: float | None = None, **options: Any) -> None:
        """Start beat as a process; its schedule file outlives it within the simulation."""
        self._ensure_begun()
        options.setdefault("schedule", str(self._world.directory() / "schedule"))

        def start() -> None:
            self._beat_process = self._world.hosts.start_beat(**options)

        if at is None:
            start()
        else:
            self.at(at, start)

    def stop_beat(self) -> int | None:
        """SIGTERM to beat; wait for its end and give its exit code."""
        process = self._beat_process
        if process is None:
            raise UsageError("there is no beat; start it with start_beat() or Simulation(beat=True)")
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
        progress = self._progress

        def body() -> None:
            progress.scripts += 1
            try:
                handle.outcome.append(function(*arguments))
            finally:
                progress.scripts -= 1

        handle = ScriptHandle(self, self._world.unix.exec(name, body))
        return handle

    @property
    def queues(self) -> Mapping[str, Any]:
        """The queues of the app's broker by name."""
        self._ensure_begun()
        return self._world.queue_rows()

    # --- patterns

    def on(self, event: type[Event] | str, /, nth: int = 1, **fields: Any) -> Pattern:
        """The nth event from now on of this kind whose fields equal these."""
        return self.trace.pattern(event, nth, **fields)

    def _about(self, event: str, task: Any, nth: int, fields: dict[str, Any]) -> Pattern:
        if task is not None:
            field, value = identity(task)
            fields[field] = value
        return self.trace.pattern(event, nth, **fields)

    def published(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A message of this task (or with this result's id) is published."""
        return self._about("Published", task, nth, fields)

    def received(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A worker receives it."""
        return self._about("Received", task, nth, fields)

    def started(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A pool process begins to run it."""
        return self._about("Started", task, nth, fields)

    def finished(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A run of it is over."""
        return self._about("Finished", task, nth, fields)

    def delivered(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """The broker hands it to a consumer."""
        return self._about("Delivered", task, nth, fields)

    def acked(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A consumer acknowledges it."""
        return self._about("Acked", task, nth, fields)

    def worker_up(self, name: str, nth: int = 1) -> Pattern:
        """A worker is ready."""
        return self.trace.pattern("WorkerUp", nth, process=name)

    # --- faults

    def _fault(self, kind: str, target: str, action: Callable[[], object], at: float | None, when: Pattern | None) -> None:
        self._ensure_begun()
        if at is not None and when is not None:
            raise UsageError(f"{kind}: give at= or when=, not both")

        def act() -> None:
            self.trace.record(Fault(self._world.now(), self._kernel.current.name, kind, target))
            action()

        if when is not None:
            self._when(when, act)
        elif at is not None:
            self.at(at, act)
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

    def kill(self, worker: str | None = None, *, task: Any = None, at: float | None = None, when: Pattern | None = None) -> None:
        """SIGKILL to a worker with all its pool processes, or to the pool process that runs a task."""
        if (worker is None) == (task is None):
            raise UsageError("kill: give worker=NAME or task=TASK_OR_RESULT")
        if worker is not None:
            self._known(worker, when, at)
            self._fault("kill", worker, lambda: self._world.hosts.kill(worker), at, when)
        else:
            self._fault("kill", identity(task)[1], lambda: self._kill_child(task), at, when)

    def _known(self, worker: str, when: Pattern | None, at: float | None) -> None:
        self._ensure_begun()
        if when is None and at is None:
            self._world.hosts.find(worker)

    def _kill_child(self, task: Any) -> None:
        field, wanted = identity(task)
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

    def cut(self, worker: str | None = None, *, client: bool = False, server: str | None = None, at: float | None = None,
            when: Pattern | None = None) -> None:  # fmt: skip
        """Cut each connection of a worker (or of the test) to any server."""
        find = self._wires(worker, client, server)
        self._fault("cut", worker or "client", lambda: [wire.cut() for wire in find()], at, when)

    def freeze(self, worker: str | None = None, *, client: bool = False, server: str | None = None, at: float | None = None,
               when: Pattern | None = None) -> None:  # fmt: skip
        """Half-open: nothing passes on its connections any more, and nobody is told."""
        find = self._wires(worker, client, server)
        self._fault("freeze", worker or "client", lambda: [wire.freeze() for wire in find()], at, when)

    def thaw(self, worker: str | None = None, *, client: bool = False, server: str | None = None, at: float | None = None,
             when: Pattern | None = None) -> None:  # fmt: skip
        """What was held on frozen connections passes now."""
        find = self._wires(worker, client, server)
        self._fault("thaw", worker or "client", lambda: [wire.thaw() for wire in find()], at, when)

    def refuse(self, seconds: float | None = None, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The broker refuses new connections, for so long or until `accept`."""
        network, names = self._world.network, self._world.broker_names

        def act() -> None:
            network.refusing.update(names())
            if seconds is not None:
                self.at(self._world.now() + seconds, lambda: network.refusing.clear())

        self._fault("refuse", "broker", act, at, when)

    def accept(self) -> None:
        """The broker accepts connections again."""
        self._world.network.refusing.clear()

    def restart_broker(self, down: float = 0.0, *, at: float | None = None, when: Pattern | None = None) -> None:
        """The broker goes down, and comes up again after `down` seconds with what is durable."""

        def act() -> None:
            servers = self._world.brokers()
            for server in servers:
                server.stop()
            self.at(self._world.now() + down, lambda: [server.start() for server in servers])

        self._fault("restart", "broker", act, at, when)

    @property
    def latency(self) -> float:
        """Seconds that a message takes on a wire, one way."""
        return self._world.network.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._ensure_begun()
        self._world.network.latency = seconds


#: Events that are recorded by a worker's own code, in a state in which its process may die.
_TOLD_BY_WORKERS = frozenset(
    (
        "Received", "Scheduled", "Accepted", "Started", "Finished", "StateStored", "HookCalled", "Succeeded", "Failed",
        "Retried", "Revoked", "Expired", "TaskRejected", "TaskUnknown", "WorkerUp", "WorkerStopping", "BeatSent",
    )
)  # fmt: skip

