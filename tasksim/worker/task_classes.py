"""What a process puts in place of a task class' `__call__` or `run` is that process' own.

Instruments do so where a tracer is built, and note on the task, which each process has for itself, that they did
(sentry-sdk's `_patch_build_tracer`). The class is one for all simulated processes: without this each worker of each
test of a suite would wrap it once more, and what one worker does would be done by all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasksim.kernel.loop import Kernel
from tasksim.patching.table import Patches

_NAMES = ("__call__", "run")
_MISSING = object()


class _OfEachProcess:
    """A class' attribute that a process has set for itself; a child has what its parent had when it forked."""

    def __init__(self, kernel: Kernel, before: object) -> None:
        self._kernel, self._before = kernel, before
        self.values: dict[Any, Any] = {}

    def __get__(self, task: Any, owner: type) -> Any:
        value = self.values.get(self._kernel.current, self._before)
        bind = getattr(type(value), "__get__", None)
        return value if bind is None else bind(value, task, owner)


class TaskClasses:
    """The classes of tasks, as each process has patched them.

    Whatever the test itself sets is seen by all; a process that notices it first must not take it for its own, so only
    the two names by which a task is called are looked at.
    """

    def __init__(self, kernel: Kernel, patches: Patches) -> None:
        self._kernel, self._patches = kernel, patches
        self._known: dict[tuple[type, str], object] = {}
        self._slots: list[_OfEachProcess] = []

    def begin(self, tasks: Iterable[Any]) -> None:
        """Remember how the classes of these tasks are before any process runs."""
        for task in tasks:
            self.settle(task)

    def forked(self, parent: object, process: object) -> None:
        """A process has what its parent has."""
        for slot in self._slots:
            if parent in slot.values:
                slot.values[process] = slot.values[parent]

    def settle(self, task: Any) -> None:
        """What has been set on the task's class since the last time is the running process' own."""
        kind, known = type(task), self._known
        for name in _NAMES:
            place = kind, name
            value = vars(kind).get(name, _MISSING)
            if known.setdefault(place, value) is value:
                continue
            if self._kernel.current is self._kernel.driver:
                known[place] = value
            else:
                self._separate(kind, name, value)

    def _separate(self, kind: type, name: str, value: object) -> None:
        slot = self._known[kind, name]
        if isinstance(slot, _OfEachProcess):
            setattr(kind, name, slot)
        else:
            inherited = [vars(one)[name] for one in kind.__mro__[1:] if name in vars(one)]
            before = slot if slot is not _MISSING else next(iter(inherited), None)
            if slot is _MISSING:
                delattr(kind, name)
            else:
                setattr(kind, name, slot)
            slot = self._known[kind, name] = _OfEachProcess(self._kernel, before)
            self._slots.append(slot)
            self._patches.set(kind, name, slot)
        slot.values[self._kernel.current] = value
