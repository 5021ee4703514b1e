"""A state machine that drives a whole task system, for users to extend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tasksim.errors import UsageError
from tasksim.simulation import Simulation, Workers, worker_options
from tasksim.strategies.faults import KINDS, check_words
from tasksim.strategies.workload import Call, calls


class TaskSystemMachine(RuleBasedStateMachine):
    """A task system under random publishing, waiting, killing and restarting. Extend it with your own app.

    Override `calls`, and what else you need; add rules and invariants of your own. `self.sim` is the simulation, and
    `self.results` has the results of all calls. At the end all workers are brought back and all work is done; then
    `at_the_end` is asked, and the checks on the trace must find nothing but known incidents.

    Attributes:
        app: the app; or override `make_app`.
        workers: what `Simulation(workers=...)` takes.
        options: further arguments of `Simulation`, but `workers` and `beat`.
        faults: which of the rules of this name may happen: "kill worker", "kill child", "stop", "cut".
        checks: names of checks on the trace, see `Simulation.check`.
        known: incidents that may be found, such as "I6": tasks that are acknowledged early die with their worker.
    """

    app: Any = None
    workers: Workers = {"w1": {}, "w2": {}}  # noqa: RUF012 (nobody changes it)
    options: Mapping[str, Any] = {}
    faults: tuple[str, ...] = KINDS
    checks: tuple[str, ...] = ("nothing_lost", "attempts_bounded", "backoff_envelope", "not_before_eta")
    known: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        if self.faults:
            check_words("faults", self.faults, KINDS)
        self.results: list[Any] = []
        self._check_options()
        self._options_of = worker_options(self.workers)
        self.sim = Simulation(self.make_app(), workers=self._options_of, **self.options)
        self.sim.__enter__()

    def _check_options(self) -> None:
        if self.options.get("beat"):
            raise UsageError(
                'options={"beat": True}: at the end of an example all work is done, and with beat there is always '
                "something left to do; publish what beat would send by calls() or a rule of your own"
            )
        for name in ("app", "workers"):
            if name in self.options:
                raise UsageError(f"options={{{name!r}: ...}}: say it as the attribute `{name}` of the machine")

    # --- what you override

    def make_app(self) -> Any:
        """The app of one example; called for each."""
        return self.app

    def calls(self) -> st.SearchStrategy[Call]:
        """What may be published; by default each task of the app that is not Celery's own, without arguments."""
        own = [name for name in self.sim.app.tasks if not name.startswith("celery.")]
        return st.one_of([calls(name) for name in sorted(own)])

    def holds(self) -> None:
        """What must hold after each step; raise an error where it does not."""

    def at_the_end(self) -> None:
        """What must hold when all work is done."""

    # --- rules

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        """Call a task."""
        self.results.append(data.draw(self.calls(), label="call").publish(self.sim))

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 5.0, 30.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.sim.advance(seconds)

    @precondition(lambda self: "kill worker" in self.faults and self._in_state("up"))
    @rule(number=st.integers(0, 7))
    def kill_worker(self, number: int) -> None:
        """SIGKILL to a worker."""
        self.sim.kill(worker=self._pick("up", number))

    @precondition(lambda self: "kill child" in self.faults and self._running())
    @rule(number=st.integers(0, 7))
    def kill_child(self, number: int) -> None:
        """SIGKILL to the pool process of a running task."""
        running = self._running()
        self.sim.kill(task=running[number % len(running)])

    @precondition(lambda self: "stop" in self.faults and self._in_state("up"))
    @rule(number=st.integers(0, 7))
    def stop_worker(self, number: int) -> None:
        """SIGTERM to a worker: warm shutdown."""
        self.sim.stop(worker=self._pick("up", number))

    @precondition(lambda self: "cut" in self.faults and self._in_state("up"))
    @rule(number=st.integers(0, 7))
    def cut_worker(self, number: int) -> None:
        """All connections of a worker are cut."""
        self.sim.cut(worker=self._pick("up", number))

    @precondition(lambda self: self._in_state("down"))
    @rule(number=st.integers(0, 7))
    def restart_worker(self, number: int) -> None:
        """A worker that is down starts again."""
        self._start(self._pick("down", number))

    @invariant()
    def _what_you_say_holds(self) -> None:
        self.holds()

    # --- the end

    def teardown(self) -> None:
        """Bring all workers back, do all work, and look whether something was lost."""
        try:
            if self.results:
                self._finish()
        finally:
            self.sim.__exit__(None, None, None)

    def _finish(self) -> None:
        sim = self.sim
        sim.run_until(lambda: not self._in_state("stopping"))
        for name in self._in_state("down"):
            self._start(name)
        sim.run()
        self.at_the_end()
        found = [finding for finding in sim.check(*self.checks) if finding.incident not in self.known]
        if found:
            raise AssertionError("\n".join(["when all work was done:", *map(str, found)]))

    # --- helpers

    def _in_state(self, state: str) -> list[str]:
        return [name for name, handle in self.sim.workers.items() if handle.state == state]

    def _pick(self, state: str, number: int) -> str:
        names = self._in_state(state)
        return names[number % len(names)]

    def _running(self) -> list[str]:
        return [task_id for handle in self.sim.workers.values() for task_id in handle.active]

    def _start(self, name: str) -> None:
        options = {key: value for key, value in self._options_of[name].items() if key not in ("start", "at")}
        self.sim.start_worker(name, wait=True, **options)
