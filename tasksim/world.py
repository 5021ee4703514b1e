"""The world of one simulation: everything put together, set up, and taken down again."""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib
import importlib.util
import os
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tasksim.broker.amqp import methods
from tasksim.broker.amqp.server import Server
from tasksim.broker.redis_watch import RedisWatch
from tasksim.broker.servers import AmqpServers
from tasksim.broker.snapshot import QueueRow
from tasksim.errors import UsageError
from tasksim.events import Event, Often
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.limits import Limits
from tasksim.message import KEPT, Serials
from tasksim.network import amqp_seam
from tasksim.network.redis import RedisServers
from tasksim.network.redis_config import read_settings
from tasksim.network.wire import Network
from tasksim.patching import (
    clock,
    coverage,
    databases,
    drivers,
    entropy,
    guard,
    names,
    notebook,
    postgres,
    sqlite,
    threads,
)
from tasksim.patching.garbage import Garbage
from tasksim.patching.late_wrappers import LateWrappers
from tasksim.patching.table import Patches, Row, find
from tasksim.trace.log import Trace
from tasksim.trace.recorder import Recorder, nowhere
from tasksim.unix.process import UnixProcess
from tasksim.unix.system import Unix
from tasksim.worker import app as worker_app
from tasksim.worker import (
    backend,
    eager,
    host,
    hub,
    in_process,
    joins,
    memory,
    remains,
    result_stores,
    servers,
    settings,
    state,
    tracer,
    watch,
)
from tasksim.worker.bodies import Bodies
from tasksim.worker.seams import ROWS, kombu_redis_rows, redis_rows
from tasksim.worker.task_classes import TaskClasses

#: Where the clock stands when nothing else is said.
DEFAULT_START = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
#: The simulation that runs in this interpreter.
_open: list[World] = []
#: Workers boot in so many seconds before the start.
LEAD_NS = 2 * SECOND


class World:
    """One simulated world. See `tasksim.worker.world.World` for what doors may ask of it.

    Without an app it is one for whatever apps the test's own process has, and for workers that live there.
    """

    def __init__(self, app: Any | None, *, seed: int, limits: Limits, allow: Iterable[str], versions: Mapping[str, str],
                 settings: Mapping[str, Any], cells: Iterable[str], start: Any,
                 eager: bool = False, memory_curve: memory.Curve | None = None,
                 redis_config: Mapping[str, object] | None = None) -> None:  # fmt: skip
        self.app, self._settings, self._cells, self._start = app, dict(settings), list(cells), start
        self._versions, self._allow, self._seed, self.limits = versions, allow, seed, limits
        self.open, self.eager, self._memory_curve, self._redis_config = False, eager, memory_curve, redis_config

    # --- up and down

    def set_up(self, begin: Callable[[], None]) -> None:
        """Replace the real world; `begin` is called before the first simulated step.

        Raises:
            UsageError: another simulation runs in this interpreter.
        """
        if _open:
            raise UsageError(
                "a simulation is running already, and two cannot at one time. Has the test a marker or a fixture `sim` "
                "and a `with Simulation(...)`, too? Or has an earlier cell of a notebook left one open? close() it."
            )
        self._settings = settings.plain_names(self.app, self._settings)
        self._make_parts()
        self.patches = Patches()
        self.task_classes = TaskClasses(self.kernel, self.patches)
        self._environment, self._folder = dict(os.environ), os.getcwd()
        self._streams = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
        self._collecting, self.garbage = gc.isenabled(), Garbage(self.kernel)
        self.open = True
        _open.append(self)
        try:
            self._install(begin)
        except BaseException:
            self.tear_down()
            raise

    def _make_parts(self) -> None:
        self.driver = UnixProcess(os.getpid(), "client")
        self.kernel = Kernel(self.driver, seed=self._seed, max_steps=self.limits.steps)
        self.unix, self.network = Unix(self.kernel), Network(self.kernel)
        self.clocks = clock.Clocks(self.kernel.agenda)
        agenda = self.kernel.agenda
        agenda.set_origin(LEAD_NS)
        # Without a function of Python's: a task's events ask ten times.
        self.now: Callable[[], float] = partial(getattr, agenda, "seconds")
        self.trace = Trace(metadata={"seed": self._seed})
        self.trace.resolve = worker_app.shared_tasks_of(self.app)
        self.recorder = Recorder(self.trace)
        self.record: Callable[[Event], None] = self.recorder.record
        self.record_often: Callable[[Often], None]
        self.recorder.serve(self)
        self.sources = entropy.make_sources(self.kernel)
        self.gate = guard.Gate(self.kernel, self._allow, world_of_session=self.app is None)
        self.threads = threads.Threads(self.kernel, self.gate, hub.NEVER_WAIT_INSIDE)
        self.serials = Serials()
        self.running, self.joins = Bodies(), joins.Joins()
        self.deliveries: dict[str, int] = {}
        self.kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)
        self.backends: list[weakref.ref[Any]] = []
        self.ends = eager.Ends(self.trace, self.running) if self.eager else None
        self.memory = memory.Memory(self._memory_curve, self.trace, self.now)
        masters = settings.sentinel_masters(self.app, self._settings)
        self.redis = RedisServers(
            self.kernel, self.record, self.now, self.serials, version=self._versions["redis"],
            settings=read_settings(self._redis_config), masters=masters,
        )  # fmt: skip
        self.redis_watch = RedisWatch(self.kernel, self.record, self.now, self.serials, self.redis, self.deliveries)
        self.redis_watch.keep = self.kept.append
        self.recorder.serve(self.redis_watch)
        self.amqp = AmqpServers(self._make_amqp_server)
        self.amqp_seam = amqp_seam.AmqpSeam(
            self.unix, self.network, self.amqp.at, methods.FROM_CLIENT, methods.FROM_SERVER
        )
        self.hosts: host.Hosts = host.Hosts(self)
        self.child_name = self.hosts.child_name
        self.apps = worker_app.Apps(self)
        self.watch = watch.Watch(self)
        self.recorder.serve(self.watch)
        self.watchdog = guard.Watchdog(self.kernel, self.limits.block)
        self.watchdog.remedy = drivers.remedy
        self.databases = databases.Databases(self.driver, lambda: self.kernel.current, self.kernel.fail)
        self.postgres = postgres.Backends(self.kernel, self.gate, self.databases, self.clocks.time)
        self.locks = sqlite.Locks(self.kernel.sleep, self.gate.inside)
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def _make_amqp_server(self, name: str) -> Server:
        server = Server(
            name, self.kernel.agenda, self.recorder.record_message, self.now, self.serials,
            version=self._versions["rabbitmq"], epoch_ns=self.clocks.epoch_ns,
        )  # fmt: skip
        server.shared.quiet, server.shared.deliveries = settings.chatter(self.app), self.deliveries
        server.shared.keep, server.shared.clients_clock = self.kept.append, self.clocks.time
        self.recorder.serve(server.shared)
        return server

    def _install(self, begin: Callable[[], None]) -> None:
        kernel = self.kernel
        settings.forget_environment(self._settings)
        self.rules = None if self.app is None else settings.broker_rules(self.app, self._settings)
        if self.app is not None:
            settings.check_store(self.app, self._settings, self._allow)
        if self.app is not None:
            worker_app.import_modules(self.app)
        rows = self._rows()
        gc.disable()  # finalizers act in whichever process is running
        self.garbage.watch()
        state.add_cells(kernel.cells, self.patches)
        if self.app is None:
            in_process.add_cells(kernel.cells)
        self.kernel.cells.name_users_own(self._cells)
        self._watch_pytest()
        coverage.follow_greenlets(self.patches)
        self.set_start()
        self.clocks.install()
        self.patches.install(rows, self)
        for connection in self.databases.find_tests_own():
            self.locks.take_over(connection)
        postgres.serve_psycopg2(self.patches, self.gate, self.postgres)
        names.replace_sleep(self.patches, names.make_sleep(self.kernel, self.gate))
        if self.eager:
            self.patches.install(eager.ROWS, self)
        if self.app is not None:
            self.apps.begin(self._settings)
            tracer.own_containers(self)
            self.task_classes.begin(self.app.tasks.values())
            modules = threads.modules_around({task.__module__ for task in self.app.tasks.values()})
            threads.own_module_locks(self.threads, kernel.cells, self.patches, modules)
        self.watch.on_worker_up, self.watch.on_worker_stopping = self.hosts.became_up, self.hosts.is_stopping
        self.watch.on_beat_up, self.watch.on_loss = self.hosts.beat_became_up, self.hosts.lost
        self.unix.on_start, self.unix.on_exit = self._started, self._ended
        self.watch.connect()
        self.watchdog.start()
        notebook.watch_cells(self.patches, self.pause, self.resume)
        kernel.begin = begin
        self.network.on_connect = self._before_connection

    def _rows(self) -> list[Row]:
        """All rows that this app needs; their modules are imported, before anything is replaced."""
        rows = list(ROWS)
        if self.app is None:
            redis = importlib.util.find_spec("redis") is not None  # which apps there will be is not known
        else:
            redis = settings.uses_redis(self.app, self._settings)
        if redis or "redis" in sys.modules:
            rows += redis_rows()
        if redis or "kombu.transport.redis" in sys.modules:
            rows += kombu_redis_rows()
        rows += result_stores.rows(self.app, self._settings)  # imports what the others look for
        rows += (*sqlite.rows(), *postgres.rows(), *databases.rows(), *notebook.rows())
        for row in rows:
            if row.applies():
                find(row.place)
        return rows

    def _started(self, process: UnixProcess) -> None:
        process.store = self.threads.locals.fork() if process.forked else self.threads.locals.program()
        if process.forked:
            self.task_classes.forked(process.parent, process)
        self.hosts.started(process)

    def _ended(self, process: UnixProcess) -> None:
        self.databases.ended(process)
        self.hosts.ended(process)

    def pause(self) -> None:
        """The interpreter is somebody else's for a while: it sees real time, real locks and real chance."""
        if self.open:
            for seam in (self.gate, self.sources, self.clocks):
                seam.leave()
            self.watchdog.give_back_interrupts()

    def resume(self) -> None:
        """Undo `pause`."""
        if self.open:
            for seam in (self.gate, self.sources, self.clocks):
                seam.enter()
            self.watchdog.take_interrupts()

    def _before_connection(self) -> None:
        kernel = self.kernel
        if kernel.current is kernel.driver:
            kernel.start()

    def wrapper_follower(self, before: Collection[str]) -> Callable[[], None]:
        """See `LateWrappers`; `before` names the modules that were there before this world imported Celery's."""
        return LateWrappers(before, self.patches).follow

    def _watch_pytest(self) -> None:
        """pytest's own timers go on in real time."""
        timing = sys.modules.get("_pytest.timing")
        if timing is not None:
            self.patches.set(timing, "time", clock.real_time)
            self.patches.set(timing, "perf_counter", clock.real_monotonic)

    def tear_down(self) -> None:
        """Put everything back; what still runs is gone without a word. No step waits for another's success."""
        if not self.open:
            return
        self.open = False
        _open.remove(self)
        with contextlib.ExitStack() as steps:  # the last first
            steps.callback(gc.enable if self._collecting else gc.disable)
            steps.callback(self.garbage.leave)
            if self._directory is not None:
                steps.callback(self._directory.cleanup)
            steps.callback(self._let_go)
            steps.callback(self._restore_environment)
            steps.callback(threads.renew, threads.executors_inside())
            steps.callback(self.patches.restore)
            steps.callback(self.clocks.restore)
            if self.apps.begun:
                steps.callback(self.apps.end)
            if self.app is None:
                steps.callback(in_process.hang_up)
            steps.callback(backend.disarm, self.backends)
            steps.callback(self.threads.locals.close)
            steps.callback(self.threads.end)
            steps.callback(self.kernel.close)
            steps.callback(self.watch.disconnect)
            if self.watchdog.running:
                steps.callback(self.watchdog.stop)
            steps.callback(self.locks.give_back)
            steps.callback(self.postgres.end)
            steps.callback(self.databases.end)
            steps.callback(self._end_processes)

    def _let_go(self) -> None:
        self.recorder.end()
        self.kept, self.redis_watch.keep = deque(), nowhere
        for server in self.amqp.all():
            server.shared.keep = nowhere
        self.trace = Trace()
        self.ends = None
        remains.let_go(self.kernel.buried, self.hosts.consumers, len(self._cells))

    def _restore_environment(self) -> None:
        if clock.is_travelling() and "TZ" in os.environ:
            self._environment["TZ"] = os.environ["TZ"]  # a time-machine's, which will put it back itself
        for name in set(os.environ) - set(self._environment):
            del os.environ[name]
        os.environ.update(self._environment)
        os.chdir(self._folder)
        if self.app is not None:  # a drop-in's world outlives what captures the output of each test
            for name, stream in self._streams.items():
                setattr(sys, name, stream)

    def _end_processes(self) -> None:
        self.unix.on_exit = lambda _: None
        for process in list(self.unix.processes.values()):
            self.kernel.bury(process)

    # --- the app's servers

    def servers(self, name: str) -> list[Any]:
        """The servers that are meant by "broker", "backend", or a name as in events; made if nobody has connected."""
        return servers.find(self, name)

    def queue_rows(self) -> dict[str, QueueRow]:
        """The queues of the app's broker; without an app, those of all brokers."""
        return servers.rows(self)

    # --- time

    def set_start(self, lead_ns: int = 0) -> None:
        """Read what the clock shall show at the start: as asked for, as frozen, or the default.

        Args:
            lead_ns: how long before it the kernel's clock begins; until the first step the clock shows the start.
        """
        frozen = clock.frozen_start_ns()
        if isinstance(self._start, datetime.datetime):
            if self._start.tzinfo is None:
                raise UsageError("start: give an aware datetime, such as datetime(2026, 1, 1, tzinfo=timezone.utc)")
            epoch_ns = clock.nanoseconds(self._start)
        elif self._start == "now":
            epoch_ns = round(clock.real_time() * 1e6) * 1000
        elif self._start is not None:
            raise UsageError(f'start={self._start!r}: give an aware datetime, "now", or nothing')
        else:
            epoch_ns = frozen if frozen is not None else clock.nanoseconds(DEFAULT_START)
        self.clocks.set_start(
            epoch_ns, lead_ns, frozen_by_freezegun=clock.take_over_freezegun(self.patches, self.clocks)
        )
        for server in self.amqp.all():  # a client may have found one before the first step
            server.shared.epoch_ns = self.clocks.epoch_ns

    def directory(self) -> Path:
        """A real folder for files of this world, gone at its end."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="tasksim-")
        return Path(self._directory.name)
