"""Task bodies that run now: which task, in which thread of which process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasksim.kernel.process import Process, running_thread


class Bodies:
    """Begun by task_prerun, ended by task_postrun or by the death of the process.

    A process of the prefork pool runs one at a time, one with threads several.
    """

    def __init__(self) -> None:
        self._tasks: dict[tuple[Process, Any], str] = {}

    def begin(self, process: Process, task_id: str) -> None:
        """The running thread begins a task."""
        self._tasks[process, running_thread()] = task_id

    def end(self, process: Process) -> None:
        """The running thread has ended its task."""
        self._tasks.pop((process, running_thread()), None)

    def gone(self, process: Process) -> list[str]:
        """A process is dead, and what ran in it with it: the task ids."""
        return [self._tasks.pop(key) for key in [one for one in self._tasks if one[0] is process]]

    def __iter__(self) -> Iterator[Process]:
        return iter(dict.fromkeys(process for process, _ in self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)

    def items(self) -> list[tuple[Process, str]]:
        """Process and task id of each."""
        return [(process, task_id) for (process, _), task_id in self._tasks.items()]

    def threads(self) -> dict[tuple[Process, Any], str]:
        """The task id in each thread of each process."""
        return dict(self._tasks)

    def values(self) -> list[str]:
        """The task ids."""
        return list(self._tasks.values())
