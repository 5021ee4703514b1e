"""What the parts of a scenario must agree on, beyond being right each for itself."""

from __future__ import annotations

from tasksim.errors import ScenarioError
from tasksim.scenario.node import did_you_mean
from tasksim.scenario.schema import Scenario

__all__ = ["check_coherence"]


def check_coherence(scenario: Scenario) -> None:
    """Raise `ScenarioError` for the first part that contradicts another."""
    _check_times(scenario)
    _check_ids(scenario)
    _check_workers(scenario)


def _check_times(scenario: Scenario) -> None:
    until = scenario.until
    if until is None:
        if scenario.beat:
            message = "with `beat` the scenario needs `until`: there is always something left to do"
            raise ScenarioError(message, scenario.file, scenario.line_of("beat"))
        return
    last = [(call.times[-1], call.line) for call in scenario.calls]
    last += [(fault.at, fault.line) for fault in scenario.faults if fault.at is not None]
    for seconds, line in last:
        if seconds > until:
            raise ScenarioError(f"happens at {seconds:g} s, after `until` ({until:g} s)", scenario.file, line)


def _check_ids(scenario: Scenario) -> None:
    seen: dict[str, int] = {}
    for call in scenario.calls:
        for name in filter(None, call.ids):
            if name in seen:
                message = f"the id `{name}` is taken by the call in line {seen[name]}"
                raise ScenarioError(message, scenario.file, call.line)
            seen[name] = call.line


def _check_workers(scenario: Scenario) -> None:
    workers = [worker.name for worker in scenario.workers]
    for fault in scenario.faults:
        name = fault.options.get("worker")
        if name is not None and name not in workers:
            message = f"`{fault.kind}` hits nobody: there is no worker `{name}`{did_you_mean(name, workers)}"
            raise ScenarioError(message, scenario.file, fault.line)
