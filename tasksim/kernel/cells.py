"""Cells: what belongs to one process and is exchanged when another one runs.

A cell is a name (a module's global) or a body (the `__dict__` of an object whose class is written in Python, so that
every reference to the object follows). A switch moves references only, in generated straight-line code; what they hold
does not matter, so a switch costs the same with ten thousand held tasks. Default arguments of functions that hold a
cell's value go with it.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterable, MutableMapping
from types import FunctionType
from typing import Any

from tasksim.errors import UsageError
from tasksim.kernel.process import Process

Make = Callable[[Any], Any]


def keep(value: Any) -> Any:
    """The same value: shared at first, apart as soon as one side assigns."""
    return value


Place = tuple[MutableMapping[str, Any], str]


class Cells:
    """The table of cells of one simulation, and the exchange.

    `driver` has the values that stand there when a cell is added. `running` is the process whose values stand in the
    namespaces now; the kernel keeps it. A process has its own bodies, so one may come later, for some processes only.
    """

    def __init__(self, driver: Process) -> None:
        self._driver = self.running = driver
        self._names: list[tuple[list[Place], Make, Make]] = []
        self._fresh_bodies: list[tuple[Any, Callable[[], dict[str, Any]]]] = []
        self._fork_body: dict[int, Make] = {}
        self._defaults: list[tuple[FunctionType, Callable[[Callable[[Place], Any]], tuple[Any, ...]]]] = []
        self.switch: Callable[[Process, Process], None] = self._first_switch

    def name(self, *places: Place, fresh: Make = keep, fork: Make = keep) -> None:
        """Exchange a name of a namespace, or several names that always hold the same thing.

        Args:
            fresh: makes the value of a new program from the driver's.
            fork: makes the value of a child from its parent's.
        """
        namespace, name = places[0]
        self._names.append((list(places), fresh, fork))
        self._driver.cells.append(namespace[name])
        self.switch = self._first_switch

    def name_users_own(self, dotted: Iterable[str]) -> None:
        """Exchange attributes of modules, "package.module.attribute"; each process has a deep copy.

        Raises:
            UsageError: there is no such attribute.
        """
        for path in dotted:
            module, _, name = path.rpartition(".")
            try:
                namespace = vars(importlib.import_module(module))
                namespace[name]
            except (ImportError, KeyError, ValueError) as exc:
                raise UsageError(
                    f"cells: {path!r} is not an attribute of a module that can be imported; "
                    'write "package.module.attribute"'
                ) from exc
            self.name((namespace, name), fresh=_copier(path), fork=_copier(path))

    def defaults(self, function: FunctionType, make: Callable[[Callable[[Place], Any]], tuple[Any, ...]]) -> None:
        """Exchange a function's default arguments, which hold what other cells have, or methods of that.

        Args:
            make: makes them, for a process; it is given a function that tells what the process has in a cell, named by
                the first of its places.
        """
        self._defaults.append((function, make))
        self._driver.defaults.append(function.__defaults__ or ())
        self.switch = self._first_switch

    def body(self, owner: Any, *, fresh: Callable[[], dict[str, Any]], fork: Make) -> None:
        """Exchange an object's `__dict__` in every process; `fresh` and `fork` make the new one."""
        self._fresh_bodies.append((owner, fresh))
        self.adopt(self._driver, owner, fork=fork)

    def adopt(self, process: Process, owner: Any, *, fork: Make) -> None:
        """Exchange the `__dict__` of an object that only this process and those forked from it know."""
        self._fork_body[id(owner)] = fork
        process.bodies.append((owner, owner.__dict__))

    def separate(self, processes: list[Process], owner: Any, *, fork: Make) -> None:
        """Give each process its own `__dict__`, a copy, where all have shared one so far; the driver keeps that."""
        shared = owner.__dict__
        self._fork_body[id(owner)] = fork
        self._fresh_bodies.append((owner, lambda: fork(shared)))
        for process in processes:
            if process is not self.running:
                process.bodies.append((owner, shared if process is self._driver else fork(shared)))
        owner.__dict__ = fork(shared)
        self.running.bodies.append((owner, owner.__dict__))

    def is_separate(self, owner: Any) -> bool:
        """Has this object a `__dict__` in each process?"""
        return id(owner) in self._fork_body

    def exec(self, process: Process) -> None:
        """Give a process the cells of a program that has just been started."""
        driver = self._values(self._driver)
        process.cells = [fresh(value) for value, (_, fresh, _) in zip(driver, self._names, strict=True)]
        process.bodies = [(owner, fresh()) for owner, fresh in self._fresh_bodies]
        self._make_defaults(process)

    def fork(self, parent: Process, process: Process) -> None:
        """Give a process the cells of a child of `parent`."""
        values = self._values(parent)
        process.cells = [fork(value) for value, (_, _, fork) in zip(values, self._names, strict=True)]
        process.bodies = [(owner, self._fork_body[id(owner)](body)) for owner, body in parent.bodies]
        self._make_defaults(process)

    def _make_defaults(self, process: Process) -> None:
        if not self._defaults:
            return
        cells = process.cells

        def held(place: Place) -> Any:
            for (places, _, _), value in zip(self._names, cells, strict=True):
                if places[0][0] is place[0] and places[0][1] == place[1]:
                    return value
            raise KeyError(place[1])

        process.defaults = [make(held) for _, make in self._defaults]

    def _values(self, process: Process) -> list[Any]:
        if process is self.running:
            return [places[0][0][places[0][1]] for places, _, _ in self._names]
        return list(process.cells)

    def _first_switch(self, old: Process, new: Process) -> None:
        """The first exchange after the table has changed makes the code for all that follow."""
        self.switch = self._generate()
        self.switch(old, new)

    def _generate(self) -> Callable[[Process, Process], None]:
        environment: dict[str, Any] = {}
        firsts, lines = [], []
        for index, (places, _, _) in enumerate(self._names):
            targets = []
            for number, (namespace, name) in enumerate(places):
                environment[f"n{index}_{number}"] = namespace
                targets.append(f"n{index}_{number}[{name!r}]")
            firsts.append(targets[0])
            lines += [f"    {other} = {targets[0]}" for other in targets[1:]]
        head = ["def switch(old, new):"]
        if firsts:
            head.append(f"    old.cells = [{', '.join(firsts)}]")
            head.append(f"    {', '.join(firsts)}, = new.cells")
        if self._defaults:
            targets = [f"f{index}.__defaults__" for index in range(len(self._defaults))]
            environment.update((f"f{index}", function) for index, (function, _) in enumerate(self._defaults))
            head.append(f"    {', '.join(targets)}, = new.defaults")
        loop = ["    for owner, body in new.bodies:", "        owner.__dict__ = body"]
        exec("\n".join([*head, *lines, *loop]), environment)
        return environment["switch"]  # type: ignore[no-any-return]


def _copier(path: str) -> Callable[[Any], Any]:
    """Copies what a process begins with in the module's attribute at this path."""

    def copied(value: Any) -> Any:
        try:
            return copy.deepcopy(value)
        except Exception as error:  # the user's own
            raise UsageError(
                f"cells: {path} holds a {type(value).__name__} that cannot be copied for another process ({error}). "
                "Set it to None before the simulation, and make it when a task first needs it."
            ) from error

    return copied
