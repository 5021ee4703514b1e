"""The kernel: one step after the other, in one order, on one clock."""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from typing import Any

from tasksim.errors import NothingLeftToDo, Spinning, UsageError, WorldStopped
from tasksim.kernel.agenda import SECOND as SECOND
from tasksim.kernel.agenda import Agenda, Entry
from tasksim.kernel.cells import Cells
from tasksim.kernel.choice import Choice
from tasksim.kernel.process import Process, Thread, keep_for_ever, make_scheduler, running_thread

MICROSECOND = 1_000

#: The first pid of a simulated process; no real one is as large.
FIRST_PID = 5_000_000
#: So often may a process look at something within one instant before looking costs it time ...
FREE_POLLS = 50
#: ... namely this much.
POLL_NS = 1_000_000

#: Why one cannot park: by whether the kernel is closed.
_NO_WAITING = {
    True: "the simulation is over; nothing can be waited for",
    False: "a finalizer waits for something while Python collects garbage; it cannot, inside a simulation",
}


class Kernel:
    """Time, order and processes of one simulation. All in one OS thread.

    Attributes:
        current: the process that runs, or ran last.
        driver: the process of whoever made the kernel, a test usually.
        buried: the dead.
        collecting: Python collects garbage right now. Nobody can park meanwhile: what the collector holds on its stack
            must not be gone when it comes back.
        deliver: called with a process whose `pending` is not empty, in its thread, as that comes back from parking.
        thread_state: how to read and write what the interpreter keeps for each OS thread and each simulated thread has
            for itself, None at first: asyncio's running loop.
        stand: called with the thread-locals of a thread that is to run, its `store`, unless they are those that stand.
        begin: called once, before the driver parks for the first time.
        before_advance: called with the next time (ns) whenever all of an instant has been done and before the clock
            moves. When it returns True, the instant goes on (it has made something due).
    """

    def __init__(self, driver: Process, *, seed: int = 0, max_steps: int = 2_000_000) -> None:
        self.choice = Choice(seed)
        self.agenda = Agenda(self.choice)
        self.at, self.soon, self.cancel = self.agenda.at, self.agenda.soon, self.agenda.cancel
        self.driver = self.current = driver
        self._os_thread = get_ident()
        self.cells = Cells(driver)
        self.thread_state: tuple[Callable[[], Any], Callable[[Any], None]] = (lambda: None, lambda _: None)
        self.stand: Callable[[Any], None] = lambda _: None
        self.store: Any = None
        self.deliver: Callable[[Any], None] = lambda _: None
        self.before_advance: Callable[[int | None], bool] = lambda _: False
        self.begin: Callable[[], None] | None = None
        self.max_steps, self.steps = max_steps, 0
        self._second_began, self._steps_allowed = 0, max_steps
        self._parked: dict[Any, Entry | None] = {}
        self._driver_thread = running_thread()
        self._scheduler = make_scheduler(self._run)
        self._next_pid = FIRST_PID
        self.closed = self.collecting = False
        self.buried: list[Process] = []

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds since the kernel was made."""
        return self.agenda.now_ns

    # --- the loop

    def _run(self, *_: object) -> None:
        agenda = self.agenda
        ready, urgent_ones = agenda.ready, agenda.urgent_ones
        while True:
            entry: Entry | None
            if len(ready) == 1 and not urgent_ones and ready[0][2] is not None:
                # As `pop` does, and for as long: mostly there is one thing to do.
                agenda.looks = 0
                entry = ready.popleft()
            else:
                entry = agenda.pop()
            try:
                if entry is not None:
                    self.steps += 1
                    function, entry[2] = entry[2], None
                    function(*entry[3])
                    if self.steps > self._steps_allowed:
                        self._complain_of_spinning()
                    continue
                due_ns = agenda.next_due_ns()
                if self.before_advance(due_ns):
                    continue
                due_ns = agenda.next_due_ns()  # it may have planned something
                if due_ns is None:
                    raise NothingLeftToDo(self._deadlock())
                self._watch_for_spin(due_ns)
                agenda.advance(due_ns)
            except (Exception, KeyboardInterrupt) as exc:
                self.raise_in_driver(exc)

    def _watch_for_spin(self, due_ns: int) -> None:
        if due_ns - self._second_began >= SECOND:
            self._second_began, self._steps_allowed = due_ns, self.steps + self.max_steps

    def _complain_of_spinning(self) -> None:
        self._steps_allowed = self.steps + self.max_steps
        raise Spinning(
            f"more than {self.max_steps} steps within one virtual second, at {self.now_ns / SECOND:.6f} s; "
            f"the last was made by {self.current.name}. Who waits:\n{self.describe_waiters()}"
        )

    def _deadlock(self) -> str:
        return "nothing is left to do, and somebody waits:\n" + self.describe_waiters()

    def describe_waiters(self) -> str:
        """One line for each parked thread: who waits for what."""
        lines = []
        for thread, entry in self._parked.items():
            process = self._process_of(thread)
            reason = getattr(thread, "waiting_for", "") or process.own.get("waiting_for", "something")
            until = "" if entry is None else f", until {entry[0] / SECOND:.6f} s"
            lines.append(f"  {process.name} waits for {reason}{until}")
        return "\n".join(lines)

    def raise_in_driver(self, exc: BaseException) -> None:
        """Let an error of the world itself come out where the test waits."""
        thread = self._driver_thread
        entry = self._parked.pop(thread, None)
        if entry is not None:
            self.cancel(entry)
        self._enter(self.driver)
        self.store = self.driver.store
        self.stand(self.store)
        thread.throw(exc)

    def fail(self, error: BaseException) -> None:
        """Give up what runs now, for good, and let this error come out where the test waits."""
        thread = running_thread()
        if thread is self._scheduler:
            self.raise_in_driver(error)
            return
        process = self._process_of(thread)
        if thread.__class__ is not Thread:
            raise error
        self.agenda.urgent(self.raise_in_driver, error)
        if process is not self.driver:
            self.bury(process)
        self.leave()

    def start(self) -> None:
        """Call `begin`, unless that has been done."""
        if self.begin is not None:
            begin, self.begin = self.begin, None
            begin()

    # --- threads

    def _process_of(self, thread: Any) -> Process:
        process = getattr(thread, "process", None)
        return self.driver if process is None else process

    def process_of_caller(self) -> Process:
        """The process whose code called; the driver for any greenlet that the kernel did not make."""
        return self._process_of(running_thread())

    def _enter(self, process: Process) -> None:
        running = self.current
        if process is not running:
            self.cells.switch(running, process)
            self.current = self.cells.running = process

    def be_driver(self) -> None:
        """For what is done on nobody's behalf: the driver is the running process until another thread goes on."""
        self._enter(self.driver)
        if self.driver.store is not self.store:
            self.store = self.driver.store
            self.stand(self.store)

    def _resume(self, thread: Any, value: object = True) -> None:
        process = getattr(thread, "process", None) or self.driver
        if process.dead:
            return
        if process is not self.current:
            self.cells.switch(self.current, process)
            self.current = self.cells.running = process
        store = thread.store if thread.__class__ is Thread else process.store
        if store is not self.store:
            self.store = store
            self.stand(store)
        thread.switch(value)

    def _make_thread(self, process: Process, function: Callable[..., object], args: tuple[object, ...]) -> Thread:
        def run(_: object) -> None:
            function(*args)
            process.threads.remove(thread)

        thread = Thread(run, self._scheduler)
        thread.process, thread.store = process, process.store
        process.threads.append(thread)
        return thread

    def spawn(self, process: Process, function: Callable[..., object], *args: object) -> Thread:
        """A new thread of this process; it begins at this instant."""
        thread = self._make_thread(process, function, args)
        self.soon(self._resume, thread)
        return thread

    def run_in(self, process: Process, function: Callable[..., object]) -> None:
        """Call a function in a new thread of this process, now: for an entry of the agenda that may park."""
        self._resume(self._make_thread(process, function, ()))

    def park(self, deadline_ns: int | None = None, reason: str = "") -> bool:
        """Let others run until somebody wakes the caller (True) or the deadline has come (False)."""
        if self.closed or self.collecting:
            raise WorldStopped(_NO_WAITING[self.closed])
        thread = running_thread()
        if thread.__class__ is Thread:
            process = thread.process
            thread.waiting_for = reason
        else:
            self._refuse_strangers()
            process = getattr(thread, "process", None) or self.driver
            if self.begin is not None:
                self.start()
            process.own["waiting_for"] = reason
            self._driver_thread = thread
        process.polls = 0
        self._parked[thread] = None if deadline_ns is None else self.at(deadline_ns, self._expire, thread)
        read, write = self.thread_state
        held = read()
        if held is None:
            woken = bool(self._scheduler.switch())
        else:
            write(None)
            try:
                woken = bool(self._scheduler.switch())
            finally:
                write(held)
        if process.pending:
            self.deliver(process)
        return woken

    def _refuse_strangers(self) -> None:
        if get_ident() != self._os_thread:
            raise UsageError(
                "a thread that was started before the simulation, or apart from it, calls or waits for what is inside; "
                "start it within the simulation, or let it end before"
            )

    def give_way(self) -> None:
        """Let what is urgent be done before the caller goes on: it may be the caller's own death."""
        thread = running_thread()
        if thread is not self._scheduler and not (self.closed or self.collecting):
            self.agenda.urgent(self._expire, thread)
            self.park(None, "what is urgent")

    def due_ns(self, seconds: float) -> int:
        """When so many seconds will have passed: a whole microsecond, and never this instant unless `seconds` is 0.

        Users' programs compute time-outs from floats, which near the time of day stand 0.24 us apart. Rounded to the
        microsecond, what was meant to happen at one instant does.
        """
        if self.begin is not None:
            self.start()  # it moves the clock
        if seconds <= 0:
            return self.agenda.now_ns
        return self.agenda.now_ns + max(1, round(seconds * 1e6)) * MICROSECOND

    def sleep(self, seconds: float, reason: str = "its sleep to end") -> None:
        """Park for so many seconds; a signal whose handler returns does not shorten it (PEP 475)."""
        deadline_ns = self.due_ns(seconds)
        self.park(deadline_ns, reason)
        while self.now_ns < deadline_ns:
            self.park(deadline_ns, reason)

    def _expire(self, thread: Any) -> None:
        if thread in self._parked:
            del self._parked[thread]
            self._resume(thread, False)

    def wake(self, thread: Any) -> None:
        """Let a parked thread go on at this instant; one that is not parked is no error."""
        parked = self._parked
        if thread in parked:
            entry = parked.pop(thread)
            if entry is not None:
                self.cancel(entry)
            self.soon(self._resume, thread)

    def is_parked(self, thread: Any) -> bool:
        """Does this thread wait?"""
        return thread in self._parked

    def parked_until_ns(self, thread: Any) -> int | None:
        """The deadline of a parked thread, if it has one."""
        entry = self._parked.get(thread)
        return None if entry is None else int(entry[0])

    @property
    def driver_thread(self) -> Any:
        """The greenlet in which the test runs."""
        return self._driver_thread

    def wait_in(self, waiters: dict[Any, None], deadline_ns: int | None, reason: str) -> bool:
        """Park in a collection of waiters, and leave it at the end. The caller looks again at what it waits for."""
        if self.begin is not None:
            self.start()  # what is waited for may have come meanwhile
            return True
        thread = running_thread()
        waiters[thread] = None
        try:
            return self.park(deadline_ns, reason)
        finally:
            waiters.pop(thread, None)

    def poll_point(self) -> None:
        """The caller looks at something that others change: the first looks are free, further ones cost time.

        So `while not result.ready(): pass` ends, and a single look stays exact.
        """
        thread = running_thread()
        if thread.__class__ is not Thread:
            self._refuse_strangers()
        process = getattr(thread, "process", None) or self.driver
        process.polls += 1
        if process.polls > FREE_POLLS and not self.collecting:
            polls = process.polls
            self.park(self.agenda.now_ns + POLL_NS, "the next look")
            process.polls = polls

    # --- processes

    def new_pid(self) -> int:
        """The next free number."""
        self._next_pid += 1
        return self._next_pid - 1

    def bury(self, process: Process) -> None:
        """Nothing of this process runs again: not a thread, not a `finally`, not at interpreter exit."""
        process.dead = True
        self.buried.append(process)
        for thread in process.threads:
            entry = self._parked.pop(thread, None)
            if entry is not None:
                self.cancel(entry)
            if not thread.dead:
                keep_for_ever(thread)
        process.threads = [thread for thread in process.threads if not thread.dead]

    def leave(self) -> None:
        """Give up the processor for good: the end of a dead process' running thread."""
        self.thread_state[1](None)
        self._scheduler.switch()

    def close(self) -> None:
        """The end of the world: the driver's cells stand again, and nothing can run."""
        self.closed = True
        self._enter(self.driver)
        self.bury(self.driver)
        self.agenda.clear()
        self._parked.clear()
