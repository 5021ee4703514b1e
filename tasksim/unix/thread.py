"""A thread of a simulated process, with the face of threading.Thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasksim.kernel.loop import Kernel


class SimulatedThread:
    """threading.Thread on a kernel thread of the process that starts it."""

    kernel: Kernel

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        del group
        self._target, self._args, self._kwargs = target, tuple(args), dict(kwargs or {})
        self.name, self.daemon = name or "Thread", bool(daemon)
        self._waiters: dict[Any, None] = {}
        self._thread: Any = None

    def start(self) -> None:
        """Begin at this instant."""
        self._thread = self.kernel.spawn(self.kernel.current, self._body)

    def _body(self) -> None:
        try:
            self.run()
        finally:
            for waiter in list(self._waiters):
                self.kernel.wake(waiter)

    def run(self) -> None:
        """Call the target."""
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def is_alive(self) -> bool:
        """Has it begun and not ended?"""
        return self._thread is not None and not self._thread.dead

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, `timeout` seconds at most."""
        deadline_ns = None if timeout is None else self.kernel.due_ns(timeout)
        while self.is_alive() and (deadline_ns is None or self.kernel.now_ns < deadline_ns):
            self.kernel.wait_in(self._waiters, deadline_ns, f"the end of thread {self.name}")


class SimulatedEvent:
    """threading.Event whose `wait` parks."""

    kernel: Kernel

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: dict[Any, None] = {}

    def is_set(self) -> bool:
        """Has it been set?"""
        return self._is_set

    def set(self) -> None:
        """Let all waiters go on."""
        self._is_set = True
        for waiter in list(self._waiters):
            self.kernel.wake(waiter)

    def clear(self) -> None:
        """Let the next ones wait."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, `timeout` seconds at most; is it set?"""
        deadline_ns = None if timeout is None else self.kernel.due_ns(timeout)
        while not self._is_set and (deadline_ns is None or self.kernel.now_ns < deadline_ns):
            self.kernel.wait_in(self._waiters, deadline_ns, "an event to be set")
        return self._is_set


def event_class(kernel: Kernel) -> type[SimulatedEvent]:
    """The class whose events are waited for in this kernel."""
    return type("Event", (SimulatedEvent,), {"kernel": kernel})


def thread_class(kernel: Kernel) -> type[SimulatedThread]:
    """The class whose threads run in this kernel."""
    return type("Thread", (SimulatedThread,), {"kernel": kernel})
