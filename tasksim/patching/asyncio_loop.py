"""asyncio in virtual time: an event loop whose selector parks in the kernel.

The loop is asyncio's own; only the selector that it is made with is another one. A loop that was there before (one that
a test suite keeps for a session) gets such a selector for the time of the simulation.
"""

from __future__ import annotations

import asyncio.base_events
import asyncio.events
import asyncio.selector_events
import selectors
from typing import Any

from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import running_thread
from tasksim.patching.notebook import own_loop
from tasksim.unix.descriptors import FIRST_DESCRIPTOR, OUT
from tasksim.unix.system import Unix


class ParkingSelector(selectors._BaseSelectorImpl):  # type: ignore[misc, name-defined, unused-ignore]
    """Waits in the kernel; simulated descriptors wake it, real ones are looked at without waiting."""

    def __init__(self, kernel: Kernel, unix: Unix) -> None:
        super().__init__()
        self._kernel, self._unix = kernel, unix
        self._waiter: Any = None
        self._kicked = False

    def kick(self) -> None:
        """Look again now."""
        self._kicked = True
        if self._waiter is not None:
            self._kernel.wake(self._waiter)

    def _look(self) -> list[tuple[Any, int]]:
        found = []
        for key in list(self.get_map().values()):
            number = key.fd
            if number < FIRST_DESCRIPTOR or not self._unix.has(number):
                continue
            events = self._unix.file(number).events()
            ready = (selectors.EVENT_READ if events & ~OUT else 0) | (selectors.EVENT_WRITE if events & OUT else 0)
            if ready & key.events:
                found.append((key, ready & key.events))
        return found + self._look_at_real_ones()

    def _look_at_real_ones(self) -> list[tuple[Any, int]]:
        import select

        keys = {key.fd: key for key in self.get_map().values() if key.fd < FIRST_DESCRIPTOR}
        if not keys:
            return []
        readers = [fd for fd, key in keys.items() if key.events & selectors.EVENT_READ]
        writers = [fd for fd, key in keys.items() if key.events & selectors.EVENT_WRITE]
        readable, writable, _ = select.select(readers, writers, [], 0)
        found = dict.fromkeys(readable, selectors.EVENT_READ)
        for fd in writable:
            found[fd] = found.get(fd, 0) | selectors.EVENT_WRITE
        return [(keys[fd], events) for fd, events in found.items()]

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """As selectors.BaseSelector.select; `timeout` in seconds."""
        ready = self._look()
        if ready or self._kicked or (timeout is not None and timeout <= 0):
            self._kicked = False
            return ready
        kernel = self._kernel
        deadline_ns = None if timeout is None else kernel.due_ns(timeout)
        files = [
            self._unix.file(key.fd) for key in self.get_map().values()
            if key.fd >= FIRST_DESCRIPTOR and self._unix.has(key.fd)
        ]  # fmt: skip
        self._waiter = thread = running_thread()
        for file in files:
            file.waiters[thread] = None
        try:
            kernel.park(deadline_ns, "its event loop")
        finally:
            self._waiter, self._kicked = None, False
            for file in files:
                file.waiters.pop(thread, None)
        return self._look()


def make_selector(world: Any) -> object:
    """What takes the place of `selectors.DefaultSelector`."""
    real, gate = selectors.DefaultSelector, world.gate
    # asyncio keeps one running loop for each OS thread; here each simulated thread has its own.
    world.kernel.thread_state = asyncio.events._get_running_loop, asyncio.events._set_running_loop

    def selector() -> Any:
        return ParkingSelector(world.kernel, world.unix) if gate.inside() else real()

    return selector


def write_to_self(world: Any) -> object:
    """What takes the place of an event loop's way to wake itself."""
    del world
    real = asyncio.selector_events.BaseSelectorEventLoop._write_to_self  # type: ignore[attr-defined]

    def wake(loop: Any) -> None:
        real(loop)
        selector = getattr(loop, "_selector", None)
        if isinstance(selector, ParkingSelector):
            selector.kick()

    return wake


def check_running(world: Any) -> object:
    """What takes the place of an event loop's look whether it runs already."""
    real, kernel = asyncio.base_events.BaseEventLoop._check_running, world.kernel  # type: ignore[attr-defined]

    def check(loop: Any) -> None:
        waiter = getattr(getattr(loop, "_selector", None), "_waiter", None)
        other = getattr(waiter, "process", None) or kernel.driver
        if waiter is not None and other is not kernel.current:
            raise RuntimeError(
                f"This event loop is already running, in {other.name}, and {kernel.current.name} wants it too: "
                "simulated processes share the globals of your modules. Let each have its own: name the global that "
                'holds the loop, Simulation(app, cells=["package.module.loop"]).'
            )
        real(loop)

    return check


def run_once(world: Any) -> object:
    """What takes the place of a round of an event loop."""
    real = asyncio.base_events.BaseEventLoop._run_once  # type: ignore[attr-defined]
    gate, notebooks_own = world.gate, own_loop()

    def run(loop: Any) -> None:
        selector = getattr(loop, "_selector", None)
        left_alone = selector.__class__ is ParkingSelector or loop is notebooks_own
        if not left_alone and selector is not None and gate.inside():
            _take_over(world, loop, selector)
        real(loop)

    return run


def _take_over(world: Any, loop: Any, selector: Any) -> None:
    """A loop from before the simulation waits in virtual time until its end; its threads are simulated as well."""
    parking = ParkingSelector(world.kernel, world.unix)
    _mirror(selector, parking)
    world.patches.set(loop, "_selector", parking)
    world.patches.set(loop, "_default_executor", None)

    def give_back() -> None:
        if loop.is_closed():
            selector.close()
        else:
            _mirror(parking, selector)

    world.patches.on_restore(give_back)


def _mirror(source: Any, copy: Any) -> None:
    """Let one selector watch the real descriptors that another one watches, and no others."""
    wanted = {key.fd: key for key in source.get_map().values() if key.fd < FIRST_DESCRIPTOR}
    for key in list(copy.get_map().values()):
        if key.fd not in wanted:
            copy.unregister(key.fileobj)
    watched = {key.fd for key in copy.get_map().values()}
    for key in wanted.values():
        (copy.modify if key.fd in watched else copy.register)(key.fileobj, key.events, key.data)
