"""A simulated Unix process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasksim.kernel.agenda import Entry
from tasksim.kernel.process import Process

if TYPE_CHECKING:
    from tasksim.unix.descriptors import File

Handler = Callable[[int, Any], Any] | int | None


class UnixProcess(Process):
    """Descriptors, signal handlers, children and exit status.

    Attributes:
        status: as waitpid(2) gives it, None while the process lives.
        zombie: it has ended and can be waited for.
        forked: it is a child of its parent; otherwise a program that was started on its own.
        dies_with_parent: PR_SET_PDEATHSIG is set, as Celery's pool processes do.
        waiters: threads that wait for its end.
        timer, interval_ns: ITIMER_REAL: its next SIGALRM, and after how long it comes again.
        at_exit: what a program does last, unless it is killed; a forked child does none of it.
    """

    parent: UnixProcess | None

    def __init__(self, pid: int, name: str, parent: UnixProcess | None = None, *, forked: bool = False) -> None:
        super().__init__(pid, name, parent)
        self.forked = forked
        self.children: list[UnixProcess] = []
        self.files: dict[int, File] = dict(parent.files) if forked and parent else {}
        self.handlers: dict[int, Handler] = dict(parent.handlers) if forked and parent else {}
        self.blocked: set[int] = set(parent.blocked) if forked and parent else set()
        self.waiters: dict[Any, None] = {}
        self.at_exit: list[Callable[[], object]] = []
        self.zombie = self.dies_with_parent = False
        self.timer: Entry | None = None  # a child has none of its parent's (setitimer(2))
        self.interval_ns = 0
        self.status: int | None = None
        for file in self.files.values():
            file.references += 1
