"""Whether a scenario fits the app that it names, and the line of what does not, wherever that is noticed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasksim.errors import ScenarioError, UsageError
from tasksim.scenario.node import did_you_mean
from tasksim.scenario.schema import Fault, Scenario, Worker

if TYPE_CHECKING:
    from tasksim.simulation import Simulation

__all__ = ["check_tasks", "line_of_fault", "line_of_option", "placed"]

#: How what the simulation says of an option begins (a regular expression), the key that holds it, and what to write.
_SAID = (
    ("rabbitmq=", "rabbitmq", ""),
    ("redis=", "redis", ""),
    ("redis_config", "redis_config", ""),
    ("start", "start", ""),
    ("the broker ", "broker", "in a scenario: `broker: amqp://` or `broker: redis://`"),
    ("the result store ", "backend", "in a scenario: `backend: redis://`"),
    (r"worker \S+: the pool ", "settings", "in a scenario: `settings: {worker_pool: threads}`"),
)


def check_tasks(app: Any, scenario: Scenario) -> None:
    """Raise `ScenarioError` for a task that the app does not have, or that does not take these arguments."""
    for call in scenario.calls:
        if call.task not in app.tasks:
            message = f"the app has no task `{call.task}`{did_you_mean(call.task, _own(app))}"
            raise ScenarioError(message, scenario.file, call.line)
        task = app.tasks[call.task]
        try:
            if task.typing:
                task.__header__(*call.args, **call.kwargs)
        except TypeError as error:
            raise ScenarioError(f"`{call.task}` cannot be called so: {error}", scenario.file, call.line) from None
    for part in (*scenario.faults, *scenario.expect):
        name = part.options.get("task") if isinstance(part, Fault) else getattr(part, "task", None)
        if name is not None and name not in scenario.ids and name not in app.tasks:
            near = did_you_mean(name, {*_own(app), *_some_ids(scenario)})
            message = f"the app has no task `{name}`, nor is there a call with this id{near}"
            raise ScenarioError(message, scenario.file, part.line)


def _own(app: Any) -> list[str]:
    return [task for task in app.tasks if not task.startswith("celery.")]


def _some_ids(scenario: Scenario) -> list[str]:
    """The ids of calls; of a repeated one the first and the last, for a message may list them all."""
    return [name for call in scenario.calls for name in (call.ids[0], call.ids[-1]) if name is not None]


@contextmanager
def placed(scenario: Scenario, line: int | Callable[[str], int | None]) -> Iterator[None]:
    """What the simulation refuses meanwhile is told with the scenario's file and a line.

    Args:
        scenario: what is run.
        line: the line, or what finds it by what is said.
    """
    try:
        yield
    except ScenarioError:
        raise
    except UsageError as error:
        said = str(error)
        raise ScenarioError(f"{said}{_remedy(said)}", scenario.file, line(said) if callable(line) else line) from error


def line_of_option(scenario: Scenario) -> Callable[[str], int | None]:
    """Finds the line of the key that a message of the simulation's start speaks of; None where it is not known."""

    def find(said: str) -> int | None:
        worker = _worker_of(said, scenario)
        if worker is not None:
            return worker.line
        for beginning, key, _ in _SAID:
            if re.match(beginning, said):
                # Broker and result store may also be the settings' or the app's own.
                return scenario.line_of(key) or scenario.line_of("settings") or scenario.line_of("app")
        return None

    return find


def line_of_fault(scenario: Scenario, sim: Simulation) -> Callable[[str], int | None]:
    """Finds the line of the fault that has just begun, as the trace has it; None if there is none."""

    def find(said: str) -> int | None:
        if _worker_of(said, scenario) is not None:
            return line_of_option(scenario)(said)
        faults: list[Any] = list(sim.trace.where("Fault"))
        begun = [event for event in faults if abs(event.time - sim.now) < 0.001]
        if not begun:
            return None
        # "restart kill" is of `restart_broker`; where several might be meant, the exact name goes first.
        kind = begun[-1].kind.split()[0]
        due = [one for one in scenario.faults if one.at is None or abs(one.at - sim.now) < 0.001]
        meant = [one for one in due if one.kind == kind] or [one for one in due if one.kind.startswith(kind)]
        return meant[-1].line if meant else None

    return find


def _worker_of(said: str, scenario: Scenario) -> Worker | None:
    """The worker of whose own option or setting a message speaks."""
    for worker in scenario.workers:
        own_pool = "pool" in worker.options or "worker_pool" in worker.settings
        if own_pool and said.startswith(f"worker {worker.name}: the pool"):
            return worker
        if any(repr(name) in said for name in (*worker.options, *worker.settings)):
            return worker
    return None


def _remedy(said: str) -> str:
    """How a scenario writes it, where a message tells of Python's arguments."""
    if said.startswith("no worker has the option"):
        return "; in a scenario, settings stand in the worker's key `settings`"
    found = [remedy for beginning, _, remedy in _SAID if remedy and re.match(beginning, said)]
    return f"; {found[0]}" if found else ""
