"""Which event is meant, in short forms."""

from __future__ import annotations

from typing import Any

from tasksim.driving.running import Running
from tasksim.events import Event
from tasksim.trace.pattern import Pattern, identity, process_name


class Patterns(Running):
    """Patterns of events, counted from now on."""

    def on(self, event: type[Event] | str, /, nth: int = 1, **fields: Any) -> Pattern:
        """The nth event from now on of this kind whose fields equal these."""
        return self.trace.pattern(event, nth, **fields)

    def _about(self, event: str, task: Any, nth: int, fields: dict[str, Any]) -> Pattern:
        if task is not None:
            field, value = identity(self.trace.resolve(task))
            fields[field] = value
        return self.trace.pattern(event, nth, **fields)

    def published(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A message of this task (or with this result's id) is published."""
        return self._about("Published", task, nth, fields)

    def received(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A worker receives it."""
        return self._about("Received", task, nth, fields)

    def started(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A pool process begins to run it."""
        return self._about("Started", task, nth, fields)

    def finished(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A run of it is over."""
        return self._about("Finished", task, nth, fields)

    def delivered(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """The broker hands it to a consumer."""
        return self._about("Delivered", task, nth, fields)

    def acked(self, task: Any = None, nth: int = 1, **fields: Any) -> Pattern:
        """A consumer acknowledges it."""
        return self._about("Acked", task, nth, fields)

    def worker_up(self, name: str | None = None, nth: int = 1, **fields: Any) -> Pattern:
        """A worker is ready; None for any."""
        if name is not None:
            fields["process"] = process_name(name)
        return self.trace.pattern("WorkerUp", nth, **fields)
