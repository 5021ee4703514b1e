"""The trace: what happened, in the order in which it happened, and who wants to hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tasksim.events import KINDS, Event
from tasksim.trace import frames, lines, store
from tasksim.trace.pattern import Pattern, event_kind, process_name
from tasksim.trace.query import Attempt, Index, TaskTrace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Trace"]

E = TypeVar("E", bound=Event)


class Trace(Sequence[Event]):
    """An append-only sequence of events.

    Args:
        events: what it begins with.
        metadata: what a file of it says besides: seed, versions; what JSON can hold. Not part of the digest.

    Attributes:
        resolve: what a target of a question stands for; of a shared task, the task of the app that was simulated.
        on_subscription: called when somebody has subscribed, or no longer does.
        then: what is to be done once all have heard of the event that is being recorded; it may end who records it.
    """

    def __init__(self, events: Iterable[Event] = (), *, metadata: Mapping[str, object] | None = None) -> None:
        self.metadata = dict(metadata or {})
        self.resolve: Callable[[Any], Any] = lambda target: target
        self.on_subscription: Callable[[], None] = lambda: None
        self.then: list[Callable[[], object]] = []
        self._events = list(events)
        self._append = self._events.append
        self._callbacks: dict[type[Event], tuple[Callable[[Any], object], ...]] = {}
        self._index = Index(self._events)
        self._hash = sha256()
        self._hashed = 0

    # --- recording

    @property
    def inlet(self) -> tuple[Callable[[Event], None], Mapping[type[Event], tuple[Callable[[Any], object], ...]]]:
        """For who records much: the function that appends, and who subscribed to which kind, kept up to date."""
        return self._append, self._callbacks

    def record(self, event: Event) -> None:
        """Append an event, then call who subscribed to its kind, in the order of subscription."""
        self._append(event)
        callbacks = self._callbacks.get(type(event))
        if callbacks is not None:
            for callback in callbacks:
                callback(event)
            while self.then:
                self.then.pop(0)()

    @overload
    def subscribe(self, kind: type[E], callback: Callable[[E], object]) -> Callable[[], None]: ...

    @overload
    def subscribe(self, kind: str | None, callback: Callable[[Any], object]) -> Callable[[], None]: ...

    def subscribe(self, kind: type[Event] | str | None, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Have a function called with each event of a kind from now on, after it was appended.

        Args:
            kind: a class of `tasksim.events` (its subclasses are meant too), its name, or None for all events.
            callback: a function of the event. It may record, subscribe and unsubscribe; a change of subscriptions
                holds from the next event on.

        Returns:
            A function that ends the subscription.
        """
        root = event_kind(kind)
        kinds = [known for known in KINDS.values() if issubclass(known, root)]
        for known in kinds:
            self._callbacks[known] = (*self._callbacks.get(known, ()), callback)
        self.on_subscription()
        subscribed = True

        def unsubscribe() -> None:
            nonlocal subscribed
            if subscribed:
                subscribed = False
                for known in kinds:
                    self._drop(known, callback)
                self.on_subscription()

        return unsubscribe

    def _drop(self, kind: type[Event], callback: Callable[[Any], object]) -> None:
        left = list(self._callbacks[kind])
        left.remove(callback)
        if left:
            self._callbacks[kind] = tuple(left)
        else:
            del self._callbacks[kind]

    # --- a sequence

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._events[index]

    def __repr__(self) -> str:
        until = f", until {lines.seconds(self._events[-1].time)} s" if self._events else ""
        return f"<Trace: {len(self._events)} events{until}>"

    # --- questions

    def pattern(self, kind: type[Event] | str | None = None, /, nth: int = 1, **fields: object) -> Pattern:
        """A pattern that knows the tasks of this trace: `task` can be asked of every kind that carries an id.

        Args:
            kind: a class of `tasksim.events` (its subclasses are meant too), its name, or None for any event.
            nth: which occurrence, counted from 1.
            fields: what is wanted; see `tasksim.trace.pattern`.

        Raises:
            UsageError: no such event, no such field, or `nth` is not a positive whole number.
        """
        return Pattern(kind, self._resolved(fields), nth, names=self._index.task_name)

    @overload
    def where(self, kind: type[E], /, **fields: object) -> list[E]: ...

    @overload
    def where(self, kind: str | None = None, /, **fields: object) -> list[Event]: ...

    def where(self, kind: type[Event] | str | None = None, /, **fields: object) -> Sequence[Event]:
        """The events of a kind whose fields are as wanted; arguments and errors as of `pattern`."""
        fits = Pattern(kind, self._resolved(fields), names=self._index.task_name).fits
        return [event for event in self._events if fits(event)]

    def of(self, target: object) -> TaskTrace:
        """What became of one call, or of all calls of one task.

        Args:
            target: a result or a task's id; or a task or its name. Of a group's result: all of its members.

        Raises:
            UsageError: it is none of these.
        """
        return self._index.of(self.resolve(target))

    def _resolved(self, fields: Mapping[str, object]) -> dict[str, object]:
        return {name: self.resolve(value) if name in ("task", "task_id") else value for name, value in fields.items()}

    def by(self, who: object) -> list[Event]:
        """The events of a process, or of a worker with its pool processes.

        Args:
            who: "w1/2", "client", "beat", "broker"; or a worker: "w1", or its handle.

        Raises:
            UsageError: it is neither a name nor a handle.
        """
        name = process_name(who)
        inside = name + "/"
        return [event for event in self._events if event.process == name or event.process.startswith(inside)]

    @property
    def attempts(self) -> list[Attempt]:
        """Every execution of every task, in the order in which they began."""
        return self._index.attempts()

    @property
    def starts(self) -> list[float]:
        """When each of them began, in virtual seconds since the start."""
        return [attempt.started for attempt in self._index.attempts()]

    def task_name(self, task_id: str) -> str | None:
        """The name of the task with this id; None if no event says."""
        return self._index.task_name(task_id)

    # --- as text

    def text(
        self,
        *,
        width: int = 100,
        events: Iterable[type[Event] | str] | None = None,
        last: int | None = None,
        detail: bool = True,
    ) -> str:
        """The timeline as text; arguments as of `tasksim.report.text.timeline`."""
        return lines.timeline(self, width=width, events=events, last=last, detail=detail)

    # --- as data frames

    def frame(self, kind: type[Event] | str | None = None, /, **fields: object) -> pd.DataFrame:
        """A pandas DataFrame with one row for each event that fits; arguments and errors as of `where`.

        The columns are `time` (virtual seconds since the start), `event`, `process` and the other fields of that kind,
        or of all kinds that occur.

        Raises:
            UsageError: pandas (the extra `notebook`) is not installed; or as of `where`.
        """
        found = self.where(kind, **fields)
        root = event_kind(kind)
        asked = [name for name, one in KINDS.items() if kind is not None and issubclass(one, root)]
        occurring = {type(event).__name__ for event in found}
        return frames.events_frame(found, asked or [name for name in KINDS if name in occurring])

    def attempts_frame(self) -> pd.DataFrame:
        """A pandas DataFrame with one row for each attempt; the columns are the fields of `Attempt`.

        Raises:
            UsageError: pandas (the extra `notebook`) is not installed.
        """
        return frames.attempts_frame(self.attempts)

    def digest(self) -> str:
        """A SHA-256 over all events, in hexadecimal; equal if and only if the events are equal."""
        for event in self._events[self._hashed :]:
            self._hash.update(store.event_line(event).encode("ascii") + b"\n")
        self._hashed = len(self._events)
        return self._hash.hexdigest()

    def save(self, path: str | PathLike[str], /, **metadata: object) -> None:
        """Write it to a file of JSON lines.

        Args:
            path: where; what is there is replaced.
            metadata: what the header is to say, besides what `self.metadata` has.

        Raises:
            UsageError: the metadata is not what JSON can hold.
        """
        store.write(path, self._events, {**self.metadata, **metadata})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trace:
        """Read what `save` wrote.

        Raises:
            TraceError: it cannot be read; the message names the file, the line and the reason.
        """
        metadata, events = store.read(path)
        return cls(events, metadata=metadata)
