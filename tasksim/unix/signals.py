"""Signals: handlers, masks, delivery to the main thread."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterable
from typing import Any

from tasksim.errors import UnsupportedError
from tasksim.kernel.loop import SECOND, Kernel
from tasksim.kernel.process import Thread, running_thread
from tasksim.unix.process import Handler, UnixProcess

#: Signals whose default action is to do nothing (signal(7)).
_IGNORED = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
#: Those that suspend a process.
_STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
#: Stands among a process' pending signals for an exception that one of its threads is to raise.
_EXCEPTION = 0

#: The handlers of the interpreter itself: those of the test's own process.
_real_handler = signal.getsignal


class Signals:
    """System calls about signals."""

    kernel: Kernel
    processes: dict[int, UnixProcess]

    def exit(self, process: UnixProcess, status: int) -> None:
        """End a process; see `fork`."""
        raise NotImplementedError

    def kill(self, pid: int, number: int) -> None:
        """kill(2) to one simulated process."""
        process = self.processes.get(pid)
        if process is None:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        if number == 0 or process.dead:
            return
        handler = process.handlers.get(number, signal.SIG_DFL)
        if number == signal.SIGKILL:
            self.exit(process, number)
        elif handler == signal.SIG_IGN or (handler == signal.SIG_DFL and number in _IGNORED):
            return
        elif handler == signal.SIG_DFL and number not in process.blocked:
            if number in _STOPPING:
                raise UnsupportedError(
                    f"{process.name} is sent {signal.Signals(number).name}; simulated processes cannot be suspended. "
                    "sim.freeze(worker=NAME) stops its connections instead"
                )
            self.exit(process, number)
        elif process.threads:
            if number not in process.pending:  # one of a kind is kept, as in life
                process.pending.append(number)
            if running_thread() is process.threads[0]:
                self.deliver(process)
            else:
                self.kernel.wake(process.threads[0])

    def tell_test(self, number: int) -> bool:
        """A signal to the test's own process, by another thread or process than its main one.

        Its handler runs in the main thread, where that waits. The interpreter would run it in the midst of the caller.

        Returns:
            Whether there is a handler and it is not the caller's own.
        """
        driver = self.kernel.driver
        if not callable(_real_handler(number)) or running_thread().__class__ is not Thread:
            return False
        if number not in driver.pending:
            driver.pending.append(number)
        self.kernel.wake(self.kernel.driver_thread)
        return True

    def _deliver_to_test(self, process: UnixProcess) -> None:
        for number in sorted(one for one in process.pending if one != _EXCEPTION):
            process.pending.remove(number)
            handler = _real_handler(number)
            if callable(handler):
                handler(number, sys._getframe())

    def deliver(self, process: UnixProcess) -> None:
        """Run the handlers of pending signals; only in the main thread, as in CPython."""
        thread = running_thread()
        if _EXCEPTION in process.pending and getattr(thread, "thrown", None) is not None:
            process.pending.remove(_EXCEPTION)
            error, thread.thrown = thread.thrown, None
            raise error
        if process is self.kernel.driver:
            if thread.__class__ is not Thread:
                self._deliver_to_test(process)
            return
        if not process.threads or thread is not process.threads[0]:
            return
        for number in sorted(one for one in process.pending if one != _EXCEPTION and one not in process.blocked):
            process.pending.remove(number)
            handler = process.handlers.get(number, signal.SIG_DFL)
            if handler == signal.SIG_DFL:
                if number not in _IGNORED:
                    self.exit(process, number)
            elif callable(handler):
                handler(number, sys._getframe())

    def throw(self, number: int, error: Any) -> int:
        """PyThreadState_SetAsyncExc: let a thread of the running process raise this when its wait is over.

        Args:
            number: of the thread.
            error: the class of an exception; None takes back what has not been raised.

        Returns:
            How many threads have been told.
        """
        process = self._caller()
        for thread in process.threads:
            if thread.number == number:
                if thread.thrown is not None:
                    process.pending.remove(_EXCEPTION)
                thread.thrown = error
                if error is not None:
                    process.pending.append(_EXCEPTION)
                return 1
        return 0

    def _caller(self) -> UnixProcess:
        process = self.kernel.current
        assert isinstance(process, UnixProcess)
        return process

    def set_handler(self, number: int, handler: Handler) -> Handler:
        """signal.signal."""
        process = self._caller()
        old = process.handlers.get(number, signal.SIG_DFL)
        process.handlers[number] = handler
        return old

    def get_handler(self, number: int) -> Handler:
        """signal.getsignal."""
        return self._caller().handlers.get(number, signal.SIG_DFL)

    # --- timers

    def set_timer(self, which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        """signal.setitimer: SIGALRM in so many seconds, and then at each interval; gives what was set before."""
        if which != signal.ITIMER_REAL:
            raise UnsupportedError(
                "ITIMER_VIRTUAL and ITIMER_PROF count processor time, of which a simulated process uses none; "
                "take signal.ITIMER_REAL, which counts virtual time"
            )
        if seconds < 0 or interval < 0:
            raise signal.ItimerError(errno.EINVAL, "Invalid argument")
        process, before = self._caller(), self.get_timer(which)
        if process.timer is not None:
            self.kernel.cancel(process.timer)
            process.timer = None
        if seconds:
            process.interval_ns = self.kernel.due_ns(interval) - self.kernel.now_ns
            process.timer = self.kernel.at(self.kernel.due_ns(seconds), self._ring, process)
        return before

    def get_timer(self, which: int) -> tuple[float, float]:
        """signal.getitimer: seconds until the next SIGALRM, and the interval."""
        process = self._caller()
        if which != signal.ITIMER_REAL or process.timer is None:
            return 0.0, 0.0
        return (process.timer[0] - self.kernel.now_ns) / SECOND, process.interval_ns / SECOND

    def alarm(self, seconds: int) -> int:
        """signal.alarm: gives the seconds that were left, at least 1 if there was one."""
        left, _ = self.set_timer(signal.ITIMER_REAL, int(seconds))
        return max(1, round(left)) if left else 0

    def _ring(self, process: UnixProcess) -> None:
        process.timer = None
        if process.dead:
            return
        if process.interval_ns:
            process.timer = self.kernel.at(self.kernel.now_ns + process.interval_ns, self._ring, process)
        self.kill(process.pid, signal.SIGALRM)

    def pause(self) -> None:
        """signal.pause: wait for a signal that has a handler."""
        self.kernel.park(None, "a signal")

    # --- to itself

    def raise_signal(self, number: int) -> None:
        """signal.raise_signal."""
        self.kill(self._caller().pid, number)

    def thread_kill(self, thread_id: int, number: int) -> None:
        """signal.pthread_kill, to a thread of the running process; its handler runs in the main thread, as ever."""
        del thread_id
        self.kill(self._caller().pid, number)

    def abort(self) -> None:
        """os.abort: SIGABRT whose default action cannot be kept away."""
        self.exit(self._caller(), signal.SIGABRT)

    def kill_group(self, group: int, number: int) -> None:
        """os.killpg: there are no process groups."""
        raise UnsupportedError(
            f"os.killpg({group}, {number}): simulated processes have no groups, and the real group is that of the "
            "test; send the signal with os.kill to each process that is meant"
        )

    def set_mask(self, how: int, numbers: Iterable[int]) -> set[int]:
        """signal.pthread_sigmask."""
        process = self._caller()
        old = set(process.blocked)
        if how == signal.SIG_BLOCK:
            process.blocked |= set(numbers)
        elif how == signal.SIG_UNBLOCK:
            process.blocked -= set(numbers)
        else:
            process.blocked = set(numbers)
        if process.pending:
            self.deliver(process)
        return old
