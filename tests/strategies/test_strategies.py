"""Strategies: what is drawn can be done, prints itself, and the machine finds what is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.stateful import run_state_machine_as_test
from kombu import Queue
from kombu.exceptions import OperationalError

import tasksim
from tasksim import Simulation
from tasksim.errors import UsageError
from tasksim.events import Delivered, Disconnected, WorkerDown
from tasksim.strategies import (
    Call,
    PlannedFault,
    TaskSystemMachine,
    calls,
    fault_plans,
    seeds,
    worker_options,
    workloads,
)
from tests.scene import BROKERS, make_app, sleeper

#: Without Phase.explain, which would run a failing example for 100 s more.
PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
few = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=PHASES)


def test_a_call_prints_what_was_drawn_and_publishes_it() -> None:
    app = make_app()
    task = sleeper(app)
    call = find(calls(task, args=st.just((2.0,)), countdown=st.just(5), expires=st.just(None)), lambda _: True)
    assert call == Call("sleeper", (2.0,), {}, 0.0, {"countdown": 5})
    assert "'countdown': 5" in repr(call)
    with Simulation(app) as sim:
        result = call.publish(sim)
        sim.run()
        assert sim.trace.of(result).starts == [pytest.approx(5, abs=0.01)]
        assert result.get() == 2.0


def test_a_call_of_a_task_that_is_not_there_says_so() -> None:
    with Simulation(make_app()) as sim, pytest.raises(UsageError, match="no such task"):
        Call("nobody").publish(sim)


@given(workloads(calls("a", at=st.integers(0, 9).map(float)), "b", max_size=5))
@few
def test_a_workload_is_in_the_order_of_publishing(workload: list[Call]) -> None:
    assert 1 <= len(workload) <= 5
    assert [call.at for call in workload] == sorted(call.at for call in workload)


def test_a_workload_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        workloads()


@given(worker_options(max_workers=2), seeds(), st.sampled_from(BROKERS), st.data())
@few
def test_what_is_drawn_runs_and_late_tasks_survive_it(
    workers: dict[str, Any], seed: int, broker: str, data: st.DataObject
) -> None:
    app = make_app(broker, task_acks_late=True, task_reject_on_worker_lost=True)
    app.conf.broker_transport_options = {"visibility_timeout": 60} if broker != BROKERS[0] else {}
    task = sleeper(app)
    plan = data.draw(fault_plans(workers))
    with Simulation(app, workers=workers, seed=seed) as sim:
        for fault in plan:
            fault.plan(sim, **workers[fault.worker])
        results = [task.delay(2.0) for _ in range(4)]
        sim.run()
        left = [result.id for result in results if result.state != "SUCCESS"]
        assert left == [one for one in left if is_lost_in_flight(sim, one)]


def is_lost_in_flight(sim: Simulation, task_id: str) -> bool:
    """The exception on Redis (I31): popped by the server for a worker that dies before it is noted as unacked."""
    return sim.rules.server == "redis" and not sim.trace.where(Delivered, task_id=task_id)


@pytest.mark.parametrize("kind", ["kill worker", "stop"])
@pytest.mark.parametrize("event", [None, "Started"])
def test_a_worker_that_is_hit_goes_down_and_comes_back(kind: str, event: str | None) -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers=1) as sim:
        PlannedFault(kind, at=1.25, event=event, back=4.0).plan(sim)
        task.delay(3.0)
        sim.run(until=20.0)
        assert len(sim.trace.where(WorkerDown)) == 1
        assert sim.workers["w1"].state == "up"
        late = task.delay(1.0)
        sim.run()
        assert late.state == "SUCCESS"


def test_a_child_is_killed_so_long_after_the_nth_start() -> None:
    app = make_app()
    task = sleeper(app)
    with Simulation(app, workers=1, concurrency=1) as sim:
        PlannedFault("kill child", at=0.5, nth=2).plan(sim)
        for _ in range(3):
            task.delay(2.0)
        sim.run()
        attempts = sim.trace.attempts
        assert [attempt.state for attempt in attempts] == ["SUCCESS", "LOST", "SUCCESS"]
        assert attempts[1].ended == pytest.approx(attempts[1].started + 0.5)


def test_a_cut_ends_the_connections_and_an_unknown_kind_is_refused() -> None:
    with Simulation(make_app(), workers=1) as sim:
        PlannedFault("cut", at=1.0).plan(sim)
        sim.run(until=5.0)
        assert any(event.reason == "cut" for event in sim.trace.where(Disconnected))
        with pytest.raises(UsageError, match="kinds are"):
            PlannedFault("flood").plan(sim)


class Late(TaskSystemMachine):
    def make_app(self) -> Any:
        app = make_app(task_acks_late=True, task_reject_on_worker_lost=True)
        sleeper(app)
        return app

    def calls(self) -> st.SearchStrategy[Call]:
        return calls("sleeper", args=st.tuples(st.sampled_from([1.0, 4.0])), countdown=st.sampled_from([None, 3]))

    def at_the_end(self) -> None:
        assert all(result.state == "SUCCESS" for result in self.results)


class Early(Late):
    def make_app(self) -> Any:
        app = make_app()
        sleeper(app)
        return app

    def at_the_end(self) -> None:
        pass


steps = settings(max_examples=15, stateful_step_count=12, deadline=None, database=None, derandomize=True, phases=PHASES)
TestLate = Late.TestCase
TestLate.settings = steps


def test_the_machine_finds_that_early_acked_tasks_die_with_their_worker() -> None:
    hunt = settings(steps, max_examples=100, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    with pytest.raises(AssertionError, match=r"nothing_lost: .* I6"):
        run_state_machine_as_test(Early, settings=hunt)


class KnownEarly(Early):
    known = ("I6", "I7", "I58")


TestKnownEarly = KnownEarly.TestCase
TestKnownEarly.settings = steps


def test_the_package_offers_what_the_module_has() -> None:
    from tasksim import strategies

    assert all(getattr(tasksim, name) is getattr(strategies, name) for name in strategies.__all__)


# --- faults of the broker

SERVER_KINDS = ("restart", "failover", "alarm", "refuse", "slow")


def careful_app() -> tuple[Any, Any]:
    """An app that loses nothing whatever becomes of its broker, and its task."""
    app = make_app(
        task_queues=[Queue("celery", queue_arguments={"x-queue-type": "quorum"})],
        broker_transport_options={"confirm_publish": True},
    )
    return app, sleeper(app, acks_late=True)


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(
    fault_plans(("w1",), kinds=SERVER_KINDS, ends=("stop", "kill", "power"), until=10),
    st.lists(st.integers(0, 20).map(float), min_size=1, max_size=5),
    seeds(),
)
def test_confirmed_messages_of_quorum_queues_outlive_every_fault_of_the_broker(
    faults: list[PlannedFault], times: list[float], seed: int
) -> None:
    app, task = careful_app()
    with Simulation(app, seed=seed) as sim:
        for fault in faults:
            fault.plan(sim)
        results = []
        for moment in sorted(times):
            sim.run(until=moment)
            try:
                results.append(task.delay(1))
            except OperationalError:
                continue  # the caller was told
        sim.run(until=200)
        sim.run()
        assert [result.state for result in results] == ["SUCCESS"] * len(results)


@pytest.mark.parametrize("kind", SERVER_KINDS)
def test_a_drawn_fault_of_the_broker_prints_itself_and_happens(kind: str) -> None:
    fault = PlannedFault(kind, at=1.25, back=2.0, delay=0.5, lost=1.0)
    assert eval(repr(fault)) == fault
    for broker in BROKERS:
        app = make_app(broker)
        sleeper(app)
        with Simulation(app) as sim:
            fault.plan(sim)
            PlannedFault(kind, event="Received").plan(sim)
            sim.run(until=60)
            assert [event.kind for event in sim.trace.where("Fault")] == [kind]
            assert sim.trace.where("Fault")[0].time == 1.25


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({"kinds": ("killworker",)}, "no 'killworker'"), ({"kinds": "cut"}, "a tuple"), ({"ends": ("hard",)}, "no 'hard'"),
     ({"workers": ()}, "name a worker"), ({"kinds": ()}, "a tuple")],
)  # fmt: skip
def test_a_word_that_is_none_of_a_plans_is_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        fault_plans(**options)


def test_a_machine_refuses_a_fault_that_it_does_not_know() -> None:
    class Misspelt(Early):
        faults = ("cutt", "stop")

    with pytest.raises(UsageError, match="no 'cutt'"):
        Misspelt()


# --- workers as they may be given


@pytest.mark.parametrize(
    ("workers", "names"),
    [("w1", {"w1"}), ({"w2", "w1"}, {"w1", "w2"}), (2, {"w1", "w2"}), (["mail"], {"mail"}), ({"w1": None}, {"w1"})],
)
def test_a_plan_hits_the_workers_that_it_is_given_in_whatever_form(workers: Any, names: set[str]) -> None:
    plans = fault_plans(workers, max_size=2)
    for name in names:
        find(plans, lambda plan, name=name: any(one.worker == name for one in plan))
    with pytest.raises(NoSuchExample):
        find(plans, lambda plan: any(one.worker not in names for one in plan))


def test_a_set_of_workers_draws_the_same_in_each_interpreter() -> None:
    names = {f"worker-{number}" for number in range(20)}
    assert find(fault_plans(names), bool)[0].worker == "worker-0"


def test_a_planned_fault_of_a_worker_that_nobody_starts_is_refused() -> None:
    with Simulation(make_app(), workers=["alpha"]) as sim:
        with pytest.raises(UsageError, match=r"worker='w1'.*the workers of this simulation: alpha"):
            PlannedFault("kill worker", at=1.0).plan(sim)
        sim.start_worker("w1", at=5)
        PlannedFault("kill worker", at=20.0).plan(sim)
        PlannedFault("restart", worker="none of the broker's business", at=1.0).plan(sim)
        sim.run()
        assert [event.process for event in sim.trace.where(WorkerDown)] == ["w1"]


@pytest.mark.parametrize("workers", [2, ["w1", "w2"], {"w1": None, "w2": {"concurrency": 1}}])
def test_the_machines_workers_are_what_those_of_a_simulation_may_be(workers: Any) -> None:
    machine = type("Given", (Early,), {"workers": workers})()
    try:
        assert list(machine.sim.workers) == ["w1", "w2"]
        machine.sim.kill(worker="w2")
        machine.restart_worker(0)
        assert machine.sim.workers["w2"].state == "up"
    finally:
        machine.teardown()


@pytest.mark.parametrize(("option", "remedy"), [("beat", "always something left"), ("workers", "as the attribute")])
def test_an_option_that_a_machine_cannot_have_is_refused(option: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        type("Given", (Early,), {"options": {option: True}})()
