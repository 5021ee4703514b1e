"""Hypothesis strategies for tests of users' own tasks, and a state machine that drives a whole task system.

A drawn value is plain data that prints itself, so that a failing example can be read: `Call(task='pay', at=2.0)`,
`PlannedFault('kill worker', 'w1', at=3.25)`. Nothing here is random by itself.
"""

from tasksim.strategies.faults import PlannedFault, fault_plans
from tasksim.strategies.machine import TaskSystemMachine
from tasksim.strategies.workload import Call, calls, seeds, worker_options, workloads

__all__ = [
    "Call",
    "PlannedFault",
    "TaskSystemMachine",
    "calls",
    "fault_plans",
    "seeds",
    "worker_options",
    "workloads",
]
