"""A worker as a process: boot, stop, death, and what is known of it from outside."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

import celery.app.trace
import celery.apps.worker
import celery.platforms
import celery.worker.state

from tasksim import events
from tasksim.errors import UsageError
from tasksim.kernel.process import Process
from tasksim.patching.table import Row
from tasksim.unix.process import UnixProcess
from tasksim.worker.app import copy_of, override, taken_from, without_always_eager
from tasksim.worker.beat import Beats
from tasksim.worker.options import check_worker
from tasksim.worker.world import World

#: Without a setting Celery starts as many pool processes as the machine has cores; a test wants the same everywhere.
DEFAULT_CONCURRENCY = 2
#: What a worker's start takes a processor besides the second in which it asks for its neighbours, seconds; recorded
#: ones took 0.1 to 0.5 s. Without it workers that were started whole seconds apart would do everything at one instant.
START_UP = 0.16
#: A node name is NAME@sim.
HOST = "sim"

#: Keys of a process' own: what starts this worker again, and that it shall be (SIGHUP).
_AGAIN, _RESTARTS = "again", "restarts"
#: Key of a process' own: the error that ended its worker, which Celery only logs.
UNRECOVERABLE = "unrecoverable"

BOOTING, UP, STOPPING, DOWN = "booting", "up", "stopping", "down"


#: How a worker is stopped, and by which signal.
_STOP_BY = {"warm": signal.SIGTERM, "cold": signal.SIGQUIT}


def check_way_to_stop(how: object) -> None:
    """Is there such a way to stop a worker?

    Raises:
        UsageError: there is not.
    """
    if how not in _STOP_BY:
        raise UsageError(f"how={how!r}: a worker is stopped 'warm' (SIGTERM) or 'cold' (SIGQUIT)")


class WorkerHandle:
    """A worker, as a test sees it.

    Attributes:
        name: its logical name; its node name is `hostname`.
        was_up: has it ever been ready?
        state: "booting", "up", "stopping" or "down".
        exitcode: of the main process once it has ended by itself; minus the signal's number if one ended it.
    """

    def __init__(self, world: World, name: str, hostname: str, process: UnixProcess) -> None:
        self._world, self._process = world, process
        self.name, self.hostname = name, hostname
        self.state = BOOTING
        self.exitcode: int | None = None
        self.error: BaseException | None = None
        self.queues: Any = None
        self.consumer: Any = None
        self.was_up = False

    def __repr__(self) -> str:
        return f"<worker {self.name}: {self.state}>"

    @property
    def has_begun(self) -> bool:
        """Is its start over, well or not?"""
        return self.was_up or self.state == DOWN

    @property
    def process(self) -> UnixProcess:
        """Its main process."""
        return self._process

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._process.pid

    @property
    def processes(self) -> list[UnixProcess]:
        """The living ones: the main process and its pool processes."""
        return [one for one in self._world.unix.tree(self._process) if not one.dead]

    @property
    def children(self) -> list[str]:
        """Names of the living pool processes."""
        return [one.name for one in self.processes if one is not self._process]

    @property
    def active(self) -> list[str]:
        """Ids of the tasks whose bodies run in it."""
        return [task_id for process, task_id in self._world.running.items() if process in self.processes]

    @property
    def queue_names(self) -> list[str]:
        """Names of the queues it consumes from; empty until it is up."""
        return [] if self.queues is None else list(self.queues.consume_from)


class Hosts(Beats):
    """All workers of a simulation, and beat.

    Attributes:
        consumers: Celery's own, of each worker that has ever been up.
        on_loss: called with a worker's name and the tasks that ran in a process of its pool that has ended.
    """

    def __init__(self, world: World) -> None:
        self.workers: dict[str, WorkerHandle] = {}
        self.consumers: list[Any] = []
        self._children: dict[str, int] = {}
        super().__init__(world, self._app)
        self.on_loss: Callable[[str, list[str]], None] = lambda *_: None

    # --- names

    def child_name(self, parent: UnixProcess) -> str:
        """Pool processes are numbered over the whole life of a worker's name."""
        name = parent.name.partition("/")[0]
        number = self._children[name] = self._children.get(name, 0) + 1
        return f"{name}/{number}"

    def of(self, process: Process) -> WorkerHandle | None:
        """The worker that a process belongs to."""
        handle = self.workers.get(process.name.partition("/")[0])
        return handle if handle is not None and process in (handle.process, *handle.processes) else None

    def find(self, name: str) -> WorkerHandle:
        """A worker by name.

        Raises:
            UsageError: there is none.
        """
        handle = self.workers.get(name)
        if handle is None:
            known = ", ".join(self.workers) or "none"
            raise UsageError(f"there is no worker {name!r}; the workers of this simulation: {known}")
        return handle

    # --- workers

    def start_worker(
        self,
        name: str,
        *,
        app: Callable[[], Any] | None = None,
        hostname: str | None = None,
        conf: Mapping[str, Any] | None = None,
        before: Callable[[], None] | None = None,
        **options: Any,
    ) -> WorkerHandle:
        """Start a worker's main process; it boots at this instant."""
        running = self.workers.get(name)
        if running is not None and not running.process.dead:
            raise UsageError(f"worker {name!r} is {running.state} already; stop or kill it before starting it again")
        conf = check_worker(name, self._world.app, {**options, "conf": conf})
        if app is None and self._world.app is None:
            raise UsageError(
                f"worker {name!r} needs an app: start_worker({name!r}, app=...) with a function that makes it"
            )
        node = hostname or f"{name}@{HOST}"

        def main() -> object:
            if before is not None:
                before()
            own = self._app(app, conf)
            self._world.memory.miss(own, options)
            return run_worker(own, node, options)

        def again() -> None:
            self.start_worker(name, app=app, hostname=hostname, conf=conf, before=before, **options)

        process = self._world.unix.exec(name, main)
        process.own[_AGAIN] = again
        handle = self.workers[name] = WorkerHandle(self._world, name, node, process)
        self._world.record(events.WorkerBooting(self._world.now(), name, name, process.pid))
        return handle

    def _app(self, make: Callable[[], Any] | None, conf: Mapping[str, Any] | None) -> Any:
        app = self._world.app if make is None else make()
        if make is not None:
            conf = without_always_eager(app, conf or {})
        if conf:
            _own_settings(app, conf)
        return app

    def became_up(self, consumer: Any) -> None:
        """A worker says that it is ready."""
        handle = self.of(self._world.kernel.current)
        if handle is not None:
            handle.state, handle.queues, handle.consumer = UP, consumer.app.amqp.queues, consumer
            self.consumers.append(consumer)
            handle.was_up = True

    def is_stopping(self) -> None:
        """A worker says that it has been told to stop."""
        handle = self.of(self._world.kernel.current)
        if handle is not None:
            handle.state = STOPPING

    # --- the end of processes

    def started(self, process: UnixProcess) -> None:
        """A process begins."""
        if "/" in process.name:
            self._world.record(events.ProcessStarted(self._world.now(), process.name, process.pid))

    def ended(self, process: UnixProcess) -> None:
        """A process has ended."""
        world, status = self._world, process.status or 0
        lost = world.running.gone(process)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        handle = self.workers.get(process.name)
        if handle is not None and handle.process is process:
            handle.state, handle.exitcode = DOWN, code if number is None else -number
            handle.error = process.own.get("error") or process.own.get(UNRECOVERABLE)
            world.record(events.WorkerDown(world.now(), process.name, process.name, code, number))
            if process.own.get(_RESTARTS):
                process.own[_AGAIN]()
        else:
            world.record(events.ProcessEnded(world.now(), process.name, code, number))
            if lost:
                self.lost(process, lost)

    def lost(self, process: Process, task_ids: list[str]) -> None:
        """These tasks ran in a process of a worker's pool that has ended, or is about to."""
        self.on_loss(process.name.partition("/")[0], task_ids)

    def stop(self, name: str, how: str) -> None:
        """Send the signal for a warm or a cold shutdown to the main process."""
        check_way_to_stop(how)
        handle = self.find(name)
        if not handle.process.dead:
            handle.state = STOPPING
            self._world.unix.kill(handle.pid, _STOP_BY[how])

    def kill(self, name: str) -> None:
        """SIGKILL to the main process and all its pool processes, at once."""
        self._world.unix.kill_tree(self.find(name).process)


def _own_settings(app: Any, conf: Mapping[str, Any]) -> None:
    """Settings that only the running process has: a copy, in the app's body, which is this process' own."""
    taken = taken_from(app, conf)
    own = copy_of(app.conf)
    vars(app)["_conf"] = own
    override(own, conf)
    for task, attribute, value in taken:
        setattr(task, attribute, value)


def run_worker(app: Any, hostname: str, options: Mapping[str, Any]) -> object:
    """What `celery worker` does, in the process that runs."""
    options = dict(options)
    if options.get("concurrency") is None:
        options["concurrency"] = app.conf.worker_concurrency or DEFAULT_CONCURRENCY
    queues = options.get("queues")
    if queues is not None and not isinstance(queues, str):
        options["queues"] = list(queues)
    options.setdefault("optimization", "fair")
    options.setdefault("loglevel", "INFO")
    time.sleep(START_UP)
    worker = app.Worker(hostname=hostname, quiet=True, redirect_stdouts=False, **options)
    worker.start()
    sys.exit(worker.exitcode)


def _restart_handler(world: World) -> object:
    def install(_: Any, sig: str = "SIGHUP") -> None:
        def restart(*_: Any) -> None:
            world.kernel.current.own[_RESTARTS] = True
            celery.worker.state.should_stop = os.EX_OK

        celery.platforms.signals[sig] = restart

    return install


def _stopping(name: str) -> Callable[[World], object]:
    def make(world: World) -> object:
        real, watch = getattr(celery.worker.WorkController, name), world.watch

        def stop(self: Any, *arguments: Any, **options: Any) -> Any:
            error = sys.exc_info()[1]
            if isinstance(error, Exception):
                world.kernel.current.own.setdefault(UNRECOVERABLE, error)
            watch.on_worker_stopping()
            return real(self, *arguments, **options)

        return stop

    return make


_STOPS = "a worker that stops by remote control, or on an error, sends no signal; what is left to do waits for its end"
_OTHERS = "it would act on, or speak to, the interpreter that all simulated processes share"


def _at_exit(world: World) -> object:
    def register(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
        process = world.kernel.process_of_caller()
        if process is world.kernel.driver:
            return atexit.register(function, *arguments, **options)
        assert isinstance(process, UnixProcess)
        process.at_exit.append(functools.partial(function, *arguments, **options))
        return function

    return types.SimpleNamespace(register=register)


def _same(place: str) -> Row:
    def make(_: World) -> object:
        from tasksim.patching.table import current_value, find

        return current_value(*find(place))

    return Row(place, "Celery's worker changes it for good; put back at the end", make)


ROWS = (
    Row("celery.worker.components:atexit", "a worker writes its state database as its process ends", _at_exit),
    Row("celery.platforms:atexit", "a process that ends takes away its pidfile", _at_exit),
    Row("celery.apps.worker:check_privileges", "no simulated worker is root", lambda _: lambda *_: None),
    Row("celery.apps.worker:safe_say", _OTHERS, lambda _: lambda *_: None),
    Row(
        "celery.apps.worker:install_worker_restart_handler",
        "at SIGHUP the interpreter itself would be replaced: here the worker stops, and another one takes its place",
        _restart_handler,
    ),
    Row("celery.platforms:set_process_title", _OTHERS, lambda _: lambda *_, **__: None),
    Row(
        "celery.fixups.django:DjangoWorkerFixup._maybe_close_db_fd",
        "a forked child closes its parent's descriptors; here it has connections of its own, or shares the test's",
        lambda _: lambda *_: None,
    ),
    Row("celery.worker.worker:WorkController.stop", _STOPS, _stopping("stop")),
    Row("celery.worker.worker:WorkController.terminate", _STOPS, _stopping("terminate")),
    _same("celery.app.task:Task.__call__"),
    _same("celery.app.trace:trace_task_ret"),
    _same("warnings:showwarning"),  # a worker's set-up of logging lets warnings be logged
    _same("logging:_warnings_showwarning"),
)
