"""Cells: what belongs to one process is there when it runs, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tasksim.kernel.cells import Cells
from tasksim.kernel.process import Process

NAMES = ("a", "b", "c")


class Thing:
    """An object whose class is written in Python."""

    def __init__(self, value: int) -> None:
        self.value = value


def body(value: int) -> Any:
    return lambda: {"value": value}


def run(cells: Cells, process: Process) -> None:
    """Switch as the kernel does."""
    if process is not cells.running:
        cells.switch(cells.running, process)
        cells.running = process


def new_process(cells: Cells, name: str = "w1") -> Process:
    process = Process(2, name)
    cells.exec(process)
    return process


@pytest.fixture
def driver() -> Process:
    return Process(1, "client")


def test_default_arguments_that_hold_a_cell_s_value_go_with_it(driver: Process) -> None:
    space: dict[str, Any] = {"x": []}

    def put(value: int, add: Any = space["x"].append) -> None:
        add(value)

    cells = Cells(driver)
    cells.name((space, "x"), fresh=lambda _: [], fork=list)
    cells.defaults(put, lambda held: (held((space, "x")).append,))
    program = new_process(cells)
    put(1)
    run(cells, program)
    put(2)
    child = Process(3, "w1/1")
    cells.fork(program, child)
    run(cells, child)
    put(3)
    seen = [space["x"]]
    for process in (program, driver):
        run(cells, process)
        seen.append(space["x"])
    assert seen == [[2, 3], [2], [1]]


def test_a_new_program_has_what_fresh_makes_and_a_child_what_fork_makes(driver: Process) -> None:
    space = {"x": 1}
    cells = Cells(driver)
    cells.name((space, "x"), fresh=lambda value: value * 10, fork=lambda value: value + 1)
    program = new_process(cells)
    run(cells, program)
    assert space["x"] == 10
    child = Process(3, "w1/1")
    cells.fork(program, child)
    run(cells, child)
    assert space["x"] == 11
    run(cells, driver)
    assert space["x"] == 1


def test_a_child_begins_with_what_its_running_parent_has_now(driver: Process) -> None:
    space = {"x": 1}
    cells = Cells(driver)
    cells.name((space, "x"))
    program = new_process(cells)
    run(cells, program)
    space["x"] = 5
    child = Process(3, "w1/1")
    cells.fork(program, child)
    run(cells, child)
    assert space["x"] == 5


def test_a_child_of_a_parent_that_does_not_run_begins_with_the_parents_values(driver: Process) -> None:
    space = {"x": 1}
    cells = Cells(driver)
    cells.name((space, "x"))
    program = new_process(cells)
    run(cells, program)
    space["x"] = 5
    run(cells, driver)
    child = Process(3, "w1/1")
    cells.fork(program, child)
    run(cells, child)
    assert space["x"] == 5


def test_names_that_hold_the_same_thing_go_on_doing_so(driver: Process) -> None:
    one: dict[str, Any] = {"x": [1]}
    two: dict[str, Any] = {"y": one["x"]}
    cells = Cells(driver)
    cells.name((one, "x"), (two, "y"), fresh=lambda _: [2])
    run(cells, new_process(cells))
    assert one["x"] is two["y"]
    assert one["x"] == [2]
    run(cells, driver)
    assert one["x"] is two["y"]
    assert one["x"] == [1]


def test_every_reference_to_a_body_follows(driver: Process) -> None:
    thing = Thing(1)
    other_reference = thing
    cells = Cells(driver)
    cells.body(thing, fresh=body(2), fork=dict)
    program = new_process(cells)
    run(cells, program)
    other_reference.value += 5
    assert thing.value == 7
    run(cells, driver)
    assert thing.value == 1


def test_an_adopted_body_is_known_to_its_process_and_those_forked_from_it_only(driver: Process) -> None:
    cells = Cells(driver)
    program, stranger = new_process(cells), new_process(cells, "w2")
    run(cells, program)
    thing = Thing(1)
    cells.adopt(program, thing, fork=dict)
    child = Process(3, "w1/1")
    cells.fork(program, child)
    run(cells, child)
    thing.value = 2
    run(cells, stranger)
    assert thing.value == 2  # it has no body of its own here: the last one stands
    run(cells, program)
    assert thing.value == 1
    run(cells, child)
    assert thing.value == 2


def test_what_was_shared_is_apart_from_the_moment_of_separation(driver: Process) -> None:
    cells = Cells(driver)
    thing = Thing(1)
    first, second = new_process(cells), new_process(cells, "w2")
    run(cells, first)
    cells.separate([driver, first, second], thing, fork=dict)
    thing.value = 9
    assert cells.is_separate(thing)
    run(cells, second)
    assert thing.value == 1
    thing.value = 3
    run(cells, driver)
    assert thing.value == 1  # each has its own from then on
    run(cells, first)
    assert thing.value == 9
    later = new_process(cells, "w3")
    run(cells, later)
    assert thing.value == 1


@settings(max_examples=60, stateful_step_count=40)
class Exchange(RuleBasedStateMachine):
    """Any order of switches, writes, forks and starts: each process reads what it wrote last, or was born with."""

    processes = Bundle("processes")

    @initialize(target=processes)
    def begin(self) -> Process:
        driver = Process(1, "client")
        self.space: dict[str, Any] = dict.fromkeys(NAMES, 0)
        self.thing = Thing(0)
        self.cells = Cells(driver)
        for name in NAMES:
            self.cells.name((self.space, name), fresh=lambda _: -1)
        self.cells.body(self.thing, fresh=body(-1), fork=dict)
        self.model = {driver: dict.fromkeys((*NAMES, "body"), 0)}
        return driver

    @rule(target=processes)
    def start(self) -> Process:
        process = new_process(self.cells)
        self.model[process] = dict.fromkeys((*NAMES, "body"), -1)
        return process

    @rule(target=processes)
    def fork(self) -> Process:
        parent = self.cells.running
        child = Process(3, "child")
        self.cells.fork(parent, child)
        self.model[child] = dict(self.model[parent])
        return child

    @rule(process=processes)
    def switch(self, process: Process) -> None:
        run(self.cells, process)

    @rule(name=st.sampled_from(NAMES), value=st.integers())
    def write(self, name: str, value: int) -> None:
        self.space[name] = value
        self.model[self.cells.running][name] = value

    @rule(value=st.integers())
    def write_body(self, value: int) -> None:
        self.thing.value = value
        self.model[self.cells.running]["body"] = value

    @invariant()
    def each_has_its_own(self) -> None:
        if hasattr(self, "model"):
            expected = self.model[self.cells.running]
            assert {name: self.space[name] for name in NAMES} == {name: expected[name] for name in NAMES}
            assert self.thing.value == expected["body"]


TestExchange = Exchange.TestCase
