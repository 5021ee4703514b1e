"""coverage.py counts the lines of task bodies: a task is a greenlet, and by itself it follows threads only.

Without this the lines of a task after its first wait are missing. It does what `concurrency = greenlet` in coverage's
own settings does, for the time of a simulation.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from tasksim.kernel.process import running_thread
from tasksim.patching.table import Patches


def follow_greenlets(patches: Patches) -> None:
    """Let the tracers that run keep a stack of frames for each greenlet; those in Python and sysmon have no such."""
    module: Any = sys.modules.get("coverage")
    current = module.Coverage.current() if hasattr(module, "Coverage") else None
    collector = getattr(current, "_collector", None)
    for tracer in getattr(collector, "tracers", ()):
        if getattr(tracer, "concur_id_func", running_thread) is None:
            patches.set(tracer, "concur_id_func", running_thread)
    hook = getattr(threading, "_trace_hook", None)
    if collector is not None and getattr(hook, "__self__", None) is collector:
        # With it `threading` gives each new thread a tracer of its own. A simulated thread is none of the
        # interpreter's: it would take the running tracer's place, for good and for all.
        patches.set(threading, "_trace_hook", None)
