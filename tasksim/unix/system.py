"""The simulated Unix: processes that are forked, exit and are waited for; with descriptors and signals."""

from __future__ import annotations

import contextvars
import errno
import os
import signal
from collections.abc import Callable

from tasksim.kernel.loop import Kernel
from tasksim.unix.descriptors import Descriptors
from tasksim.unix.pipe import make_pipe
from tasksim.unix.process import UnixProcess
from tasksim.unix.signals import Signals

#: With any seed but 0, half of the deaths are such that descriptors close and the status comes this much later (ns): a
#: race of a real kernel, which decides whether Celery's pool notices a death at once or at its next check.
LATE_STATUS_NS = 500_000


def exit_status(code: int) -> int:
    """The status word of a process that exited with this code."""
    return (code & 255) << 8


class Unix(Descriptors, Signals):
    """System calls of the running process.

    Attributes:
        processes: the living and the not yet waited for, by pid; without the driver.
        on_start: called with each new process, before it runs.
        on_exit: called with each process that has ended.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.processes: dict[int, UnixProcess] = {}
        self.on_start: Callable[[UnixProcess], None] = lambda _: None
        self.on_exit: Callable[[UnixProcess], None] = lambda _: None
        self._reaping = kernel.choice.stream("reaping") if kernel.choice.seed else None
        kernel.deliver = self.deliver

    # --- processes

    def exec(self, name: str, function: Callable[[], object]) -> UnixProcess:
        """Start a program: a process with nothing of its parent's, a child of the driver."""
        driver = self.kernel.driver
        assert isinstance(driver, UnixProcess)
        process = UnixProcess(self.kernel.new_pid(), name, driver)
        self.kernel.cells.exec(process)
        return self._begin(process, function)

    def fork(self, name: str, function: Callable[[], object]) -> UnixProcess:
        """fork(2): a child of the running process that runs `function` and exits with what it returns (None is 0)."""
        parent = self._caller()
        process = UnixProcess(self.kernel.new_pid(), name, parent, forked=True)
        self.kernel.cells.fork(parent, process)
        return self._begin(process, function)

    def _begin(self, process: UnixProcess, function: Callable[[], object]) -> UnixProcess:
        self.processes[process.pid] = process
        if process.parent is not None:
            process.parent.children.append(process)
        self.on_start(process)
        thread = self.kernel.spawn(process, self._body, process, function)
        if not process.forked:
            thread.gr_context = contextvars.Context()  # what the test has set is not a program's
        return process

    def _body(self, process: UnixProcess, function: Callable[[], object]) -> None:
        code: object = 1
        try:
            code = function() or 0
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        except KeyboardInterrupt:
            raise  # from the keyboard of whoever runs the test
        except BaseException as exc:
            process.own["error"] = exc
        while process.at_exit:
            process.at_exit.pop()()
        self.exit(process, exit_status(code if isinstance(code, int) else 0))

    def exit(self, process: UnixProcess, status: int) -> None:
        """The end of a process: nothing of it runs again, its descriptors close, its orphans are told.

        Does not return when the caller is among those that end.
        """
        self._end(process, status)
        if self.kernel.process_of_caller().dead:
            self.kernel.leave()

    def kill_tree(self, process: UnixProcess) -> None:
        """SIGKILL to a process and all that descend from it, at once."""
        for one in self.tree(process):
            self._end(one, signal.SIGKILL)
        if self.kernel.process_of_caller().dead:
            self.kernel.leave()

    def _end(self, process: UnixProcess, status: int) -> None:
        if process.dead:
            return
        process.status = status
        self.kernel.bury(process)
        late = self._reaping is not None and self._reaping.chance(0.5)
        for descriptor in list(process.files):
            process.files.pop(descriptor).release()
        self.on_exit(process)
        for child in list(process.children):
            if child.zombie:
                self._reap(child)
            elif child.dies_with_parent:
                self._end(child, signal.SIGKILL)
        if late:
            self.kernel.at(self.kernel.now_ns + LATE_STATUS_NS, self._become_zombie, process)
        else:
            self._become_zombie(process)

    def _become_zombie(self, process: UnixProcess) -> None:
        process.zombie = True
        for thread in list(process.waiters):
            self.kernel.wake(thread)
        if process.parent is None or process.parent.dead or not process.forked:
            self._reap(process)

    def _reap(self, process: UnixProcess) -> None:
        """Forget a process that has ended: its parent has waited for it, or init, or whoever started the program."""
        self.processes.pop(process.pid, None)
        if process.parent is not None:
            process.parent.children.remove(process)

    def waitpid(self, pid: int, flags: int = 0) -> tuple[int, int]:
        """waitpid(2) for one child."""
        process = self.processes.get(pid)
        if process is None or process.parent is not self.kernel.current:
            raise ChildProcessError(errno.ECHILD, "No child processes")
        while not process.zombie:
            if flags & os.WNOHANG:
                return 0, 0
            self.kernel.wait_in(process.waiters, None, f"the end of {process.name}")
        self._reap(process)
        return pid, process.status or 0

    def tree(self, process: UnixProcess) -> list[UnixProcess]:
        """A process and all that descend from it and live."""
        found = [process]
        for child in process.children:
            if not child.dead:
                found += self.tree(child)
        return found

    def pipe(self) -> tuple[int, int]:
        """pipe(2): descriptors of the read end and the write end."""
        reader, writer = make_pipe(self.kernel)
        return self.open(reader), self.open(writer)
