"""Reading a trace: what people see. Nothing here needs Celery, greenlet or the kernel."""

from __future__ import annotations

from tasksim.report.failure import Facts, failure
from tasksim.report.text import last_events, summary, timeline

__all__ = ["Facts", "failure", "last_events", "summary", "timeline"]
