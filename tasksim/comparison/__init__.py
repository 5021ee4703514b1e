"""What Celery's eager mode hides: the same calls in eager mode and in the simulation, and what differs.

Both halves run on the virtual clock and in the simulated world, so neither reaches a real broker. In the first
Celery's own `task_always_eager` holds and there is no worker; in the second the calls are run by workers, and each of
the function's own calls returns when what it called has ended.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
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
        UsageError: the function is none, or fails before its first call, or an option makes no sense.
    """
    _check(function, options)
    loaded = load_app(app)
    eager: Half = observe(loaded, function, eager=True, options=options)
    real: Half = observe(loaded, function, eager=False, options=options)
    for half in (eager, real):
        if half.error is not None and not (eager.calls or real.calls):
            raise UsageError(f"compare_eager: the function made no call before {half.error!r}") from half.error
    return differences(eager, real)


def _check(function: object, options: Mapping[str, Any]) -> None:
    if not callable(function):
        raise UsageError(f"compare_eager: {function!r} cannot be called; give a function that makes the calls")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"compare_eager: calling {function!r} runs nothing of it; wrap it: lambda: asyncio.run(...)")
    if options.get("beat"):
        raise UsageError("compare_eager(beat=...): with beat there is no end at which the two could be compared")
