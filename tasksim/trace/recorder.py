"""The way from those who record to the trace: as short as it can be for the ten events that every task has."""

from __future__ import annotations

from typing import Any, get_args

from tasksim.events import Event, Often
from tasksim.trace.log import Trace

_OFTEN = get_args(Often)


class Recorder:
    """Hands events to a trace, until it is cut off at the end of a simulation.

    Those who record much have an attribute `record_often`, which is the trace's own `append` while nobody wants to hear
    of the events that are often. See `serve`.
    """

    def __init__(self, trace: Trace) -> None:
        self._append, self._callbacks = trace.inlet
        self._then = trace.then
        self._served: list[Any] = []
        trace.on_subscription = self._renew

    def record(self, event: Event) -> None:
        """Hand an event over: what `Trace.record` does, without one more call for each event."""
        self._append(event)
        callbacks = self._callbacks.get(event.__class__)
        if callbacks is not None:
            for callback in callbacks:
                callback(event)
            while self._then:
                self._then.pop(0)()

    def record_message(self, event: Event) -> None:
        """The same for what a broker has to tell; what befalls a message without a number is not told."""
        if getattr(event, "message", None) != 0:
            self.record(event)

    def serve(self, recording: Any) -> None:
        """Give an object its `record_often`, a function that takes `Often` events, and keep it up to date."""
        self._served.append(recording)
        self._renew()

    def _renew(self) -> None:
        heard = any(kind in self._callbacks for kind in _OFTEN)
        for recording in self._served:
            recording.record_often = self.record if heard else self._append

    def end(self) -> None:
        """From now on events go nowhere."""
        self._append, self._callbacks = nowhere, {}
        self._renew()
        self._served = []


def nowhere(_: object) -> None:
    """Where that goes what is over."""
