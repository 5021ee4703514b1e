"""From a `Scenario` to a run: the simulation it asks for, its calls and faults, and what came of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasksim.errors import ScenarioError, TasksimError, WorldStopped
from tasksim.scenario.application import importable, load_app, load_tasks, value_of
from tasksim.scenario.expect import Finding, World, check
from tasksim.scenario.fitting import check_tasks, line_of_fault, line_of_option, placed
from tasksim.scenario.schema import Call, Fault, Scenario, Setup, Worker

if TYPE_CHECKING:
    from tasksim.simulation import Simulation
    from tasksim.trace.pattern import Armed

__all__ = ["Outcome", "run_scenario"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        scenario: what was run.
        seed: the seed of this run.
        trace: everything that happened.
        findings: what does not hold; empty is good.
        seconds: the virtual time at the end.
    """

    scenario: Scenario
    seed: int
    trace: Any
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether all expectations hold."""
        return not self.findings

    @property
    def lines(self) -> list[str]:
        """The findings as text, each with its file and line."""
        file = self.scenario.file
        places = (file if finding.line is None else f"{file}:{finding.line}" for finding in self.findings)
        return [f"{place}: {finding.message}" for place, finding in zip(places, self.findings, strict=True)]

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        return f"tasksim run {shlex.quote(self.scenario.file)} --seed {self.seed}"


def run_scenario(scenario: Scenario, *, seed: int | None = None) -> Outcome:
    """Run a scenario once.

    Args:
        scenario: what to run.
        seed: in place of the scenario's own.

    Raises:
        ScenarioError: the scenario does not fit the app.
    """
    from tasksim.simulation import Simulation

    seed = scenario.seed if seed is None else seed
    with importable(scenario):
        app = load_app(scenario)
        load_tasks(app, scenario)
        check_tasks(app, scenario)
        with placed(scenario, line_of_option(scenario)), Simulation(app, **_options(scenario, seed)) as sim:
            findings = _play(sim, app, scenario)
            return Outcome(scenario, seed, sim.trace, tuple(findings), sim.now)


def _options(scenario: Scenario, seed: int) -> dict[str, Any]:
    """The arguments of `Simulation`; what the scenario leaves open is left out."""
    options: dict[str, Any] = {
        "workers": {worker.name: _worker_options(worker) for worker in scenario.workers},
        "seed": seed,
        "beat": scenario.beat,
    }
    for name in ("start", "broker", "backend", "rabbitmq", "redis"):
        value = getattr(scenario, name)
        if value is not None:
            options[name] = value
    if scenario.settings:
        options["settings"] = scenario.settings
    if scenario.redis_config:
        options["redis_config"] = scenario.redis_config
    return options


def _worker_options(worker: Worker) -> dict[str, Any]:
    options = dict(worker.options)
    if worker.concurrency is not None:
        options["concurrency"] = worker.concurrency
    if worker.queues is not None:
        options["queues"] = list(worker.queues)
    if worker.settings:
        options["conf"] = dict(worker.settings)
    if worker.start is not None:
        options["at"] = worker.start
    return options


def _play(sim: Simulation, app: Any, scenario: Scenario) -> list[Finding]:
    """Let it all happen, then look."""
    lines: dict[Armed, int | None] = {}
    for fault in scenario.faults:
        _schedule(sim, app, fault, scenario)
        lines.update(dict.fromkeys(sim._awaited.keys() - lines.keys(), fault.line))
    findings: list[Finding] = []
    try:
        for setup in scenario.setup:
            _set_up(setup, scenario)
        for seconds, task_id, call in _publications(scenario):
            if seconds > sim.now:
                _go_on(sim, scenario, seconds)
            findings += _publish(app, call, task_id, seconds, scenario)
        _go_on(sim, scenario, scenario.until)
    except WorldStopped as error:
        stopped = Finding(f"the simulation stopped at {sim.now:g} s ({type(error).__name__}): {error}")
        return [*findings, stopped, *_never_happened(sim, lines)]
    return findings + _never_happened(sim, lines) + check(scenario, World(app, sim.trace, sim.queues))


def _go_on(sim: Simulation, scenario: Scenario, until: float | None) -> None:
    with placed(scenario, line_of_fault(scenario, sim)):
        sim.run(until=until)


def _never_happened(sim: Simulation, lines: Mapping[Armed, int | None]) -> list[Finding]:
    """Faults whose event never came, each with its line; no warnings need tell of them."""
    awaited, sim._awaited = sim._awaited, {}
    return [Finding(f"a fault never happened: {told}", lines[counter]) for counter, told in awaited.items()]


def _set_up(setup: Setup, scenario: Scenario) -> None:
    try:
        function = value_of(setup.call)
    except LookupError as error:
        raise ScenarioError(f"`{setup.call}` cannot be called: {error}", scenario.file, setup.line) from None
    try:
        with placed(scenario, setup.line):
            function(*setup.args, **setup.kwargs)
    except TasksimError:
        raise
    except (Exception, SystemExit) as error:  # a SystemExit would end the command without a verdict
        raise ScenarioError(f"`{setup.call}` raised {error!r}", scenario.file, setup.line) from error


def _publications(scenario: Scenario) -> list[tuple[float, str | None, Call]]:
    all_of_them = [
        (seconds, task_id, call)
        for call in scenario.calls
        for seconds, task_id in zip(call.times, call.ids, strict=True)
    ]
    return sorted(all_of_them, key=lambda publication: publication[0])


def _publish(app: Any, call: Call, task_id: str | None, seconds: float, scenario: Scenario) -> list[Finding]:
    given = {
        "task_id": task_id,
        "countdown": call.countdown,
        "expires": call.expires,
        "queue": call.queue,
        "priority": call.priority,
    }
    options = {name: value for name, value in given.items() if value is not None}
    try:
        with placed(scenario, call.line):
            app.tasks[call.task].apply_async(list(call.args), dict(call.kwargs), **options)
    except TasksimError:
        raise
    except (Exception, SystemExit) as error:
        return [Finding(f"calling `{call.task}` at {seconds:g} s raised {error!r}", call.line)]
    return []


def _schedule(sim: Simulation, app: Any, fault: Fault, scenario: Scenario) -> None:
    options = dict(fault.options)
    if "task" in options and options["task"] not in app.tasks:
        options["task"] = app.AsyncResult(options["task"])
    with placed(scenario, fault.line):
        if fault.when is None:
            getattr(sim, fault.kind)(**options, at=fault.at)
        else:
            fields = scenario.meant(fault.when.event, fault.when.fields)
            getattr(sim, fault.kind)(**options, when=sim.on(fault.when.event, nth=fault.when.nth, **fields))
