"""Logging: the set-up of a worker runs as shipped, and the test's handlers go on getting everything.

All simulated processes share Python's loggers with the test. So each set-up (Celery's own, or what receivers of
`setup_logging`, `after_setup_logger` and `after_setup_task_logger` make of it) is looked at afterwards: what it took
away is put back, and each handler that it added hears its own process and that one's children only. Celery's own
handler, which writes to the terminal, is left out: the test's handlers have all of it. At the end all is as it was.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from celery._state import get_current_task
from celery.app.log import Logging
from celery.utils.log import ColorFormatter, task_logger

from tasksim.patching.table import Row
from tasksim.unix.process import UnixProcess
from tasksim.worker.world import World

_OWN = "logging"


class Group:
    """Some processes, and those forked from them.

    Args:
        current: the process that runs.
    """

    def __init__(self, current: Callable[[], Any]) -> None:
        self._current = current
        self.processes: list[UnixProcess] = []

    def runs(self) -> bool:
        """Does one of them run?"""
        process: UnixProcess | None = self._current()
        while process is not None and process not in self.processes:
            process = process.parent if process.forked else None
        return process is not None


class Gate(logging.Filter):
    """Lets through to a handler what these processes log, if it would have come so far in them.

    Args:
        ends: loggers which, for some processes, keep what they get from their parents.
    """

    def __init__(self, handler: logging.Handler, group: Group, ends: Mapping[logging.Logger, Group]) -> None:
        super().__init__()
        self._handler, self._ends = handler, ends
        self.group = group

    def filter(self, record: logging.LogRecord) -> bool:
        """Is it one of theirs?"""
        if not self.group.runs():
            return False
        one: logging.Logger | None = logging.getLogger(record.name)
        while one is not None and self._handler not in one.handlers:
            if one in self._ends and self._ends[one].runs():
                return False
            one = one.parent
        return True


class Stamp(logging.Handler):
    """Writes id and name of the running task into a record, before other handlers see it, as TaskFormatter does."""

    def emit(self, record: logging.LogRecord) -> None:
        """The record of a task's logger (`get_task_logger`)."""
        task = get_current_task()
        if task is not None and task.request:
            record.__dict__.setdefault("task_id", task.request.id)
            record.__dict__.setdefault("task_name", task.name)
        last = logging.lastResort
        if last is not None and not logging.root.handlers and record.levelno >= last.level:
            last.handle(record)  # as if this one were not here


class State(NamedTuple):
    """How a logger is configured."""

    handlers: list[logging.Handler]
    level: int
    propagate: bool
    disabled: bool


def _loggers() -> list[logging.Logger]:
    known = list(logging.Logger.manager.loggerDict.values())
    return [logging.root, *(one for one in known if isinstance(one, logging.Logger))]


def _states() -> dict[logging.Logger, State]:
    return {one: State(one.handlers, one.level, one.propagate, one.disabled) for one in _loggers()}


def _is_celerys_own(handler: logging.Handler) -> bool:
    stream = handler.stream is sys.__stderr__ if type(handler) is logging.StreamHandler else False
    return stream and isinstance(handler.formatter, ColorFormatter)


class Logs:
    """What the processes of one simulation have set up."""

    def __init__(self, world: World) -> None:
        self._kernel = world.kernel
        self._before = {one: state._replace(handlers=list(state.handlers)) for one, state in _states().items()}
        self._added: dict[logging.Handler, Gate] = {}
        self._ends: dict[logging.Logger, Group] = {}
        self._levels: dict[logging.Logger, tuple[int, int]] = {}
        self._stamp = Stamp()
        if not task_logger.propagate:
            # A set-up of Celery's, before the simulation, has ended the way here, and pytest has put its handlers here,
            # too. They are on the root as well; nothing is to be heard twice.
            task_logger.handlers[:] = [each for each in task_logger.handlers if each not in logging.root.handlers]
            task_logger.propagate = True
        task_logger.handlers.insert(0, self._stamp)
        world.patches.on_restore(self._restore)

    def set_up(self, real: Callable[..., Any], log: Any, loglevel: Any, logfile: Any, options: dict[str, Any]) -> Any:
        """Celery's own set-up, in the process that runs; each has one, and a pool process its parent's."""
        process: Any = self._kernel.current
        of_its_own = isinstance(logfile, str) and "%i" in logfile.lower()
        if _OWN in process.own or (process.forked and not of_its_own):
            return None
        process.own[_OWN] = True
        already, states, registered = Logging._setup, _states(), self._hide_handlers()
        for one in states:
            one.handlers = [each for each in one.handlers if each not in self._added and each is not self._stamp]
        try:
            Logging._setup = False
            return real(log, loglevel, logfile, **options)
        finally:
            Logging._setup = already
            self._show_handlers(registered)
            hears = [self._merge(one, states.get(one), process) for one in _loggers()]
            for one, state in states.items():
                if one.level == state.level:
                    continue
                if any(hears):
                    self._levels[one] = self._levels.get(one, (state.level, 0))[0], one.level
                else:  # nobody hears them but the test, with its own
                    one.setLevel(state.level)

    def _merge(self, one: logging.Logger, before: State | None, process: UnixProcess) -> bool:
        """Put back what a set-up has changed, but for the handlers that it added: are there any?"""
        handlers, heard = one.handlers, False
        if before is not None:
            if before.propagate and not one.propagate:
                self._ends.setdefault(one, Group(self._kernel.process_of_caller)).processes.append(process)
            one.handlers, one.propagate, one.disabled = before.handlers, before.propagate, before.disabled
        for handler in handlers:
            if before is not None and handler in before.handlers and handler not in self._added:
                continue
            if _is_celerys_own(handler):
                if handler in one.handlers:
                    one.handlers.remove(handler)
                continue
            if handler not in self._added:
                group = Group(self._kernel.process_of_caller)
                gate = self._added[handler] = Gate(handler, group, self._ends)
                handler.addFilter(gate)
            self._added[handler].group.processes.append(process)
            if handler not in one.handlers:
                one.addHandler(handler)
            heard = heard or type(handler) is not logging.NullHandler
        return heard

    def _hide_handlers(self) -> tuple[list[Any], dict[str, Any]]:
        """`logging.config` closes all handlers that there are, the test's among them."""
        everything: Any = logging
        registered = list(everything._handlerList), dict(everything._handlers)
        everything._handlerList.clear()
        everything._handlers.clear()
        return registered

    def _show_handlers(self, registered: tuple[list[Any], dict[str, Any]]) -> None:
        everything: Any = logging
        everything._handlerList[:0] = registered[0]
        for name, handler in registered[1].items():
            everything._handlers.setdefault(name, handler)

    def _restore(self) -> None:
        for one in _loggers():
            one.handlers[:] = [each for each in one.handlers if each not in self._added and each is not self._stamp]
            before = self._before.get(one)
            if before is not None:
                one.propagate, one.disabled = before.propagate, before.disabled
        for handler, gate in self._added.items():
            handler.removeFilter(gate)
            handler.close()
        for one, (level, ours) in self._levels.items():
            if one.level == ours:
                one.setLevel(level)


def _subsystem(world: World) -> object:
    real = Logging.setup_logging_subsystem
    if world.app is None:  # workers in the test's own process: the suite's fixtures see to it
        return real
    logs = Logs(world)

    def setup_logging_subsystem(self: Any, loglevel: Any = None, logfile: Any = None, **options: Any) -> Any:
        return logs.set_up(real, self, loglevel, logfile, options)

    return setup_logging_subsystem


ROWS = (
    Row(
        "celery.app.log:Logging.setup_logging_subsystem",
        "runs as shipped in each program; the test's handlers stay, and those that it adds hear their own process",
        _subsystem,
    ),
)
