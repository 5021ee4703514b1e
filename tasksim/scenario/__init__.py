"""A story in a YAML file: what runs, what is called, what goes wrong, and what must hold afterwards.

`schema` says what a scenario is, `load` reads one from a file, `build` runs it, `expect` compares what came of it,
`rerun` runs it again from its trace.
"""

from __future__ import annotations

from tasksim.scenario.build import Outcome, run_scenario
from tasksim.scenario.expect import Finding
from tasksim.scenario.load import begins_as_scenario, load, loads
from tasksim.scenario.rerun import Replay, header, replay
from tasksim.scenario.schema import Scenario

__all__ = [
    "Finding",
    "Outcome",
    "Replay",
    "Scenario",
    "begins_as_scenario",
    "header",
    "load",
    "loads",
    "replay",
    "run_scenario",
]
