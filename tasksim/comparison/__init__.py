"""What Celery's eager mode hides: the same calls in eager mode and in the simulation, and what differs.

Both halves run on the virtual clock and in the simulated world, so neither reaches a real broker. In the first
Celery's own `task_always_eager` holds and there is no worker; in the second the calls are run by workers, and each of
the function's own calls returns when what it called has ended.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from tasksim.comparison.half import Half, observe
from tasksim.comparison.hidden import Hidden
from tasksim.comparison.rules import differences
from tasksim.errors import UsageError
from tasksim.simulation import load_app

__all__ = ["Hidden", "compare_eager", "load_function"]


def load_function(name: str) -> Callable[[], object]:
    """The function at "package.module:function"; the current folder is importable.

    Raises:
        UsageError: there is none.
    """
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, ".")
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise UsageError(f'{name!r} cannot be had ({exc}); write "package.module:function"') from exc
    if not callable(function):
        raise UsageError(f"{name!r} is no function")
    return function  # type: ignore[no-any-return]


def compare_eager(app: Any, function: Callable[[], object], **options: Any) -> list[Hidden]:
    """Call a function twice, with Celery's eager mode and in the simulation, and list what eager mode had hidden.

    Args:
        app: the Celery app, or "package.module:attribute".
        function: makes the calls. It is called twice, so it has to begin from the same state each time.
        options: keyword arguments of `Simulation`, for the second half; `mode` is "eager" unless it is given.

    Raises:
        UsageError: the function is none, or an option makes no sense.
    """
    if not callable(function):
        raise UsageError(f"compare_eager: {function!r} cannot be called; give a function that makes the calls")
    loaded = load_app(app)
    eager: Half = observe(loaded, function, eager=True, options=options)
    real: Half = observe(loaded, function, eager=False, options=options)
    return differences(eager, real)
