"""Every exception that tasksim raises on purpose.

TasksimError
├── UsageError              the caller asked for something that cannot be (bad option, bad scenario, too late)
│   ├── ScenarioError       ... in a scenario file: carries file and line
│   └── UnsupportedError    ... that the simulation cannot serve (a thread, a transport, a pool)
├── ConnectionRefused       a connection that would have left the process
├── WorldStopped            the simulated world cannot go on as asked
│   ├── NothingLeftToDo     somebody waits in an idle world
│   ├── Stuck               work is left, and nothing has happened for a long virtual time
│   ├── Spinning            endless steps while the clock stands almost still
│   └── BlockedForReal      a step that really blocks (found by the watchdog)
├── PatchMissing            a release moved a place that tasksim replaces
└── TraceError              a trace file that cannot be read

and one warning, FaultNeverHappened.
"""

from __future__ import annotations

__all__ = [
    "BlockedForReal",
    "ConnectionRefused",
    "FaultNeverHappened",
    "NothingLeftToDo",
    "PatchMissing",
    "ScenarioError",
    "Spinning",
    "Stuck",
    "TasksimError",
    "TraceError",
    "UnsupportedError",
    "UsageError",
    "WorldStopped",
]


class TasksimError(Exception):
    """The base of all of them."""


class UsageError(TasksimError):
    """What was asked for cannot be; the message names the place and the remedy."""


class ScenarioError(UsageError):
    """A scenario file that cannot be run.

    Args:
        message: what is wrong and what would be right.
        file: path of the scenario, as the user gave it.
        line: line in that file, counted from 1; None where the whole file is meant.
    """

    def __init__(self, message: str, file: str = "", line: int | None = None) -> None:
        self.message, self.file, self.line = message, file, line
        where = f"{file}:{line}: " if line is not None else f"{file}: " if file else ""
        super().__init__(where + message)


class UnsupportedError(UsageError):
    """Something that the simulation does not serve; the message says what to do instead."""


class ConnectionRefused(TasksimError, ConnectionRefusedError):
    """A connection that would have left the process; the message names the option that allows it."""


class WorldStopped(TasksimError):
    """The simulated world cannot go on as it was asked to."""


class NothingLeftToDo(WorldStopped):
    """Somebody waits on in an idle world; the message names the waiter and what it waits for."""


class Stuck(WorldStopped):
    """Work is left and nothing has happened for a long virtual time; the message lists what is left."""


class PoolDeadlock(Stuck):
    """Tasks wait in `get()` for tasks that only their own pool processes could run; the message names them."""


class Spinning(WorldStopped):
    """Endless steps while the clock stands almost still; the message names who steps."""


class BlockedForReal(WorldStopped):
    """A step blocked in real time; the message names the process and the line."""


class PatchMissing(TasksimError):
    """A place that tasksim replaces does not exist in the installed release."""


class TraceError(TasksimError):
    """A trace file that cannot be read; the message names the file, the line and the reason."""


class FaultNeverHappened(UserWarning):
    """A fault waited for an event (`when=`) that never came, so the test has shown nothing of it."""
