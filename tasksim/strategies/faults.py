"""Faults at drawn times and at drawn events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tasksim.driving.server_faults import ENDS
from tasksim.errors import UsageError
from tasksim.events import Event, Started
from tasksim.simulation import Simulation, Workers, worker_options

#: What a planned fault of workers may be, and what one of the broker may be.
KINDS = ("kill worker", "kill child", "stop", "cut")
SERVER_KINDS = ("restart", "failover", "alarm", "refuse", "slow")


#: Events at which a fault may strike.
EVENTS = ("Received", "Accepted", "Started", "StateStored", "Finished", "Acked")


def check_words(what: str, given: Collection[str], known: Sequence[str]) -> None:
    """Are these words that are known, and at least one?

    Raises:
        UsageError: one is not, or there is none.
    """
    words = [given] if isinstance(given, str) else list(given)
    unknown = [word for word in words if word not in known]
    if unknown or not words or isinstance(given, str):
        wrong = f"there is no {unknown[0]!r}" if unknown else "give a tuple of words"
        raise UsageError(f"{what}={given!r}: {wrong}; there are: {', '.join(known)}")


@dataclass(frozen=True)
class PlannedFault:
    """Something that goes wrong at a time or at an event.

    Attributes:
        kind: "kill worker", "kill child" (the pool process of a running task), "stop" (warm), "cut"; of the broker
            "restart", "failover", "alarm" (its memory is used up), "refuse" and "slow".
        worker: whom it hits; of "kill child" a task of any worker is taken.
        at: seconds since the start; used without `event`.
        event: name of the event at whose nth occurrence it strikes. A child is killed `at` seconds after it.
        back: a worker that was killed or stopped starts again so many seconds later; a fault of the broker lasts so
            long (a lost node of RabbitMQ stays away so long).
        how: how the broker goes down: "stop", "kill", "power".
        lost: seconds that its successor has not got ("failover").
        delay: how much longer each reply takes, in seconds ("slow").
    """

    kind: str
    worker: str = "w1"
    at: float = 0.0
    event: str | None = None
    nth: int = 1
    back: float = 5.0
    how: str = "stop"
    lost: float = 0.0
    delay: float = 0.5

    def plan(self, sim: Simulation, **options: Any) -> None:
        """Let it happen in this simulation.

        Args:
            sim: a running one.
            options: those of `sim.start_worker`, for a worker that starts again.
        """
        if self.kind == "kill child":
            self._plan_child(sim)
            return
        if self.kind in SERVER_KINDS:
            with sim._may_never_happen():
                self._plan_server(sim)
            return
        if self.kind in KINDS:
            self._check_worker(sim)
        actions: dict[str, Callable[[], None]] = {
            "kill worker": lambda: sim.kill(worker=self.worker),
            "stop": lambda: sim.stop(worker=self.worker),
            "cut": lambda: sim.cut(worker=self.worker),
        }
        if self.kind not in actions:
            raise UsageError(f"PlannedFault(kind={self.kind!r}): kinds are {', '.join(KINDS + SERVER_KINDS)}")

        def strike(*_: Event) -> None:
            handle = sim.workers.get(self.worker)
            if handle is not None and handle.state == "up":
                actions[self.kind]()
                self._plan_return(sim, options)

        if self.event is None:
            sim.at(self.at, strike)
        else:
            _at_nth(sim, self.event, self.nth, lambda _: sim.at(sim.now, strike))

    def _check_worker(self, sim: Simulation) -> None:
        known = [*sim.workers, *(name for name in sorted(sim._coming) if name not in sim.workers)]
        if self.worker not in known:
            raise UsageError(
                f"PlannedFault(worker={self.worker!r}): there is no such worker, so nothing would happen; the workers "
                f"of this simulation: {', '.join(known) or 'none'}. Plan it after start_worker, if it is to come later"
            )

    def _plan_server(self, sim: Simulation) -> None:
        moment: dict[str, Any] = {"at": self.at}
        if self.event is not None:
            moment = {"when": sim.on(self.event, nth=self.nth)}
        if self.kind == "restart":
            sim.restart_broker(self.back, how=self.how, **moment)
        elif self.kind == "failover":
            sim.failover(self.lost, down=self.back / 2, back=self.back, **moment)
        elif self.kind == "alarm":
            sim.alarm(self.back, **moment)
        elif self.kind == "refuse":
            sim.refuse(self.back, **moment)
        else:
            sim.slow(self.delay, self.back, **moment)

    def _plan_return(self, sim: Simulation, options: Mapping[str, Any]) -> None:
        def start() -> None:
            handle = sim.workers[self.worker]
            if handle.state == "down":
                sim.start_worker(self.worker, **options)
            elif handle.state == "stopping":
                sim.at(sim.now + self.back + 1.0, start)

        if self.kind != "cut":
            sim.at(sim.now + self.back, start)

    def _plan_child(self, sim: Simulation) -> None:
        def begun(event: Event) -> None:
            assert isinstance(event, Started)
            task_id = event.task_id

            def strike() -> None:
                if any(task_id in handle.active for handle in sim.workers.values()):
                    sim.kill(task=task_id)

            sim.at(sim.now + self.at, strike)

        _at_nth(sim, "Started", self.nth, begun)


def _at_nth(sim: Simulation, kind: str, nth: int, act: Callable[[Event], None]) -> None:
    counter = sim.on(kind, nth=nth).arm()

    def look(event: Event) -> None:
        if counter.matches(event):
            stop()
            act(event)

    stop = sim.trace.subscribe(kind, look)


def _names_of(workers: Workers | str) -> list[str]:
    if isinstance(workers, str):
        workers = [workers]
    elif isinstance(workers, AbstractSet):  # whose order is another one in each interpreter
        workers = sorted(workers, key=str)
    return list(worker_options(workers))


def fault_plans(
    workers: Workers | str = ("w1",),
    *,
    kinds: tuple[str, ...] = KINDS,
    ends: tuple[str, ...] = ("stop",),
    until: int = 20,
    max_size: int = 3,
) -> st.SearchStrategy[list[PlannedFault]]:
    """Lists of faults. Workers that are killed or stopped come back, so that all work can come to its end.

    Args:
        workers: those that may be hit: a name, or what `Simulation(workers=...)` takes.
        kinds: of `PlannedFault.kind`; faults of the broker (`SERVER_KINDS`) only if they are asked for.
        ends: of `PlannedFault.how`.
        until: the latest time, in seconds. Times lie a quarter of a second beside whole and half seconds, at which
            much else happens.
        max_size: most faults of one plan.

    Raises:
        UsageError: no such kind, no such end, or nobody to hit.
    """
    check_words("kinds", kinds, KINDS + SERVER_KINDS)
    check_words("ends", ends, ENDS)
    names = _names_of(workers)
    if not names:
        raise UsageError("fault_plans(workers=...): name a worker that may be hit")
    times = st.integers(0, 2 * until).map(lambda half: half / 2 + 0.25)
    common: dict[str, st.SearchStrategy[Any]] = {"worker": st.sampled_from(names), "at": times}
    if set(kinds) & set(SERVER_KINDS):
        common |= {
            "how": st.sampled_from(ends),
            "lost": st.sampled_from([0.0, 1.0]),
            "delay": st.sampled_from([0.1, 2.0]),
        }
    common |= {"nth": st.integers(1, 5), "back": st.sampled_from([1.0, 5.0, 30.0])}
    single = st.builds(
        PlannedFault, st.sampled_from(kinds), event=st.one_of(st.none(), st.sampled_from(EVENTS)), **common
    )
    return st.lists(single, max_size=max_size)
