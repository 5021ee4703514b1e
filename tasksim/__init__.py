"""tasksim: your own Celery app, its workers and its broker in one process, on a virtual clock.

The house, in the order in which a message passes through it:

    simulation, driving/      what a test drives, by subject
    world, idle, deadlock     everything put together; when it is over
    worker/                   real Celery: the app, its workers, its pool, beat, and the seams to billiard and kombu
    broker/                   messages at rest: RabbitMQ's rules, and what kombu's messages are on Redis
    network/                  wires, the cuts in py-amqp and redis-py, the Redis server
    patching/                 clocks, chance, sockets and threads of the interpreter, replaced while a simulation runs
    unix/                     what a process sees: descriptors, pipes, polling, fork, signals
    kernel/                   time, order, chance, processes; knows no message
    trace/, check/, report/   what happened, what must not happen, and how it reads; they know the events only
    comparison/               what Celery's eager mode hides
    scenario/, strategies/, cli, pytest_*   the doors

Names are loaded when they are first asked for, so that importing the package costs nothing. Nothing here asserts, so
pytest need not warn where it comes too late to rewrite it: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tasksim.broker.snapshot import QueueRow as QueueRow
    from tasksim.check import check_trace as check_trace
    from tasksim.check.base import Finding as Finding
    from tasksim.comparison import Hidden as Hidden
    from tasksim.comparison import compare_eager as compare_eager
    from tasksim.errors import BlockedForReal as BlockedForReal
    from tasksim.errors import ConnectionRefused as ConnectionRefused
    from tasksim.errors import FaultNeverHappened as FaultNeverHappened
    from tasksim.errors import NothingLeftToDo as NothingLeftToDo
    from tasksim.errors import PatchMissing as PatchMissing
    from tasksim.errors import PoolDeadlock as PoolDeadlock
    from tasksim.errors import ScenarioError as ScenarioError
    from tasksim.errors import Spinning as Spinning
    from tasksim.errors import Stuck as Stuck
    from tasksim.errors import TasksimError as TasksimError
    from tasksim.errors import TraceError as TraceError
    from tasksim.errors import UnsupportedError as UnsupportedError
    from tasksim.errors import UsageError as UsageError
    from tasksim.errors import WorldStopped as WorldStopped
    from tasksim.limits import Limits as Limits
    from tasksim.simulation import Simulation as Simulation
    from tasksim.strategies import Call as Call
    from tasksim.strategies import PlannedFault as PlannedFault
    from tasksim.strategies import TaskSystemMachine as TaskSystemMachine
    from tasksim.strategies import calls as calls
    from tasksim.strategies import fault_plans as fault_plans
    from tasksim.strategies import seeds as seeds
    from tasksim.strategies import worker_options as worker_options
    from tasksim.strategies import workloads as workloads
    from tasksim.trace.log import Trace as Trace
    from tasksim.trace.pattern import Pattern as Pattern
    from tasksim.trace.query import Attempt as Attempt
    from tasksim.trace.query import TaskTrace as TaskTrace
    from tasksim.worker.host import WorkerHandle as WorkerHandle
    from tasksim.worker.publications import Publication as Publication

_HOMES = {
    "QueueRow": "tasksim.broker.snapshot",
    "check_trace": "tasksim.check",
    "Finding": "tasksim.check.base",
    "Hidden": "tasksim.comparison",
    "compare_eager": "tasksim.comparison",
    "BlockedForReal": "tasksim.errors",
    "ConnectionRefused": "tasksim.errors",
    "FaultNeverHappened": "tasksim.errors",
    "NothingLeftToDo": "tasksim.errors",
    "PatchMissing": "tasksim.errors",
    "PoolDeadlock": "tasksim.errors",
    "ScenarioError": "tasksim.errors",
    "Spinning": "tasksim.errors",
    "Stuck": "tasksim.errors",
    "TasksimError": "tasksim.errors",
    "TraceError": "tasksim.errors",
    "UnsupportedError": "tasksim.errors",
    "UsageError": "tasksim.errors",
    "WorldStopped": "tasksim.errors",
    "Limits": "tasksim.limits",
    "Simulation": "tasksim.simulation",
    "Call": "tasksim.strategies",
    "PlannedFault": "tasksim.strategies",
    "TaskSystemMachine": "tasksim.strategies",
    "calls": "tasksim.strategies",
    "fault_plans": "tasksim.strategies",
    "seeds": "tasksim.strategies",
    "worker_options": "tasksim.strategies",
    "workloads": "tasksim.strategies",
    "Trace": "tasksim.trace.log",
    "Pattern": "tasksim.trace.pattern",
    "Attempt": "tasksim.trace.query",
    "TaskTrace": "tasksim.trace.query",
    "WorkerHandle": "tasksim.worker.host",
    "Publication": "tasksim.worker.publications",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tasksim' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
