"""Processes and their threads; each thread is a greenlet."""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import greenlet

if TYPE_CHECKING:
    from tasksim.kernel.agenda import Entry


class Thread(greenlet.greenlet):
    """One thread of a simulated process.

    Attributes:
        process: the process it belongs to.
        waiting_for: why it parks, in words; read by reports.
        number: of a thread that a program has started; 0 for a process' first one.
        sentinel: a lock to release when it has ended.
        thrown: an exception that another thread wants it to raise when it goes on.
        store: its thread-locals; see `Kernel.stand`.
    """

    process: Process
    store: Any
    waiting_for: str = ""
    number: int = 0
    sentinel: Any = None
    thrown: Any = None

    def __init__(self, run: Callable[..., object], parent: greenlet.greenlet) -> None:
        super().__init__(run, parent)
        # A greenlet begins with an empty context; a thread made by fork would have its parent's.
        self.gr_context = contextvars.copy_context()


class Process:
    """What a kernel keeps of a process.

    Attributes:
        name: as events and reports give it ("client", "w1", "w1/2").
        cells: the values of the cells, in the order of the table; valid while another process runs.
        bodies: objects and the `__dict__` that they have while this process runs.
        defaults: default arguments that functions have while this process runs, in the order of the table.
        pending: signals that wait for the process' main thread; the kernel's `deliver` hook looks at them.
        own: a place for other layers to keep what belongs to this process, by their own key.
        polls: how often it has looked at something within this instant; see `Kernel.poll_point`.
        store: the thread-locals of its main thread.
    """

    def __init__(self, pid: int, name: str, parent: Process | None = None) -> None:
        self.pid, self.name, self.parent = pid, name, parent
        self.threads: list[Any] = []
        self.dead = False
        self.cells: list[object] = []
        self.bodies: list[tuple[Any, dict[str, Any]]] = []
        self.defaults: list[tuple[Any, ...]] = []
        self.pending: list[int] = []
        self.own: dict[Any, Any] = {}
        self.polls = 0
        self.store: Any = None

    def __repr__(self) -> str:
        return f"<process {self.name} {self.pid}>"


#: The greenlet that runs now; this file is where greenlet is reached.
running_thread: Callable[[], Any] = greenlet.getcurrent


def make_scheduler(run: Callable[..., object]) -> Any:
    """The greenlet in which the kernel's loop runs, between all others."""
    return greenlet.greenlet(run)


#: What a parked greenlet waits for: its deadline's entry, or None.
Parked = dict[greenlet.greenlet, "Entry | None"]


def keep_for_ever(thread: greenlet.greenlet) -> None:
    """Make sure that a dead process' greenlet is never collected: that would run its `finally` blocks.

    An extra reference that nobody gives back holds even at interpreter exit.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thread))
