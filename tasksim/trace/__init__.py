"""What happened: the record of a run, and questions to it. Nothing here needs Celery, greenlet or the kernel."""

from __future__ import annotations

from tasksim.trace.compare import Difference, first_difference
from tasksim.trace.log import Trace
from tasksim.trace.pattern import Pattern
from tasksim.trace.query import Attempt, TaskTrace

__all__ = ["Attempt", "Difference", "Pattern", "TaskTrace", "Trace", "first_difference"]
