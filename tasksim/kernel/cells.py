"""Cells: what belongs to one process and is exchanged when another one runs.

A cell is a name (a module's global) or a body (the `__dict__` of an object whose class is written in Python, so that
every reference to the object follows). A switch moves references only, in generated straight-line code; what they hold
does not matter, so a switch costs the same with ten thousand held tasks.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from tasksim.kernel.process import Process

Make = Callable[[Any], Any]


def keep(value: Any) -> Any:
    """The same value: shared at first, apart as soon as one side assigns."""
    return value


class Cells:
    """The table of cells of one simulation, and the exchange.

    `driver` has the values that stand there when a cell is added. `running` is the process whose values stand in the
    namespaces now; the kernel keeps it.
    """

    def __init__(self, driver: Process) -> None:
        self._driver = self.running = driver
        self._names: list[tuple[MutableMapping[str, Any], str, Make, Make]] = []
        self._bodies: list[tuple[Any, Callable[[], dict[str, Any]], Callable[[dict[str, Any]], dict[str, Any]]]] = []
        self.switch: Callable[[Process, Process], None] = self._generate()

    def name(self, namespace: MutableMapping[str, Any], name: str, *, fresh: Make = keep, fork: Make = keep) -> None:
        """Exchange a name of a namespace.

        Args:
            fresh: makes the value of a new program from the driver's.
            fork: makes the value of a child from its parent's.
        """
        self._names.append((namespace, name, fresh, fork))
        self._driver.cells.append(namespace[name])
        self.switch = self._generate()

    def body(
        self,
        owner: Any,
        *,
        fresh: Callable[[], dict[str, Any]],
        fork: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        """Exchange an object's `__dict__`; `fresh` and `fork` make the new one."""
        self._bodies.append((owner, fresh, fork))
        self._driver.bodies.append((owner, owner.__dict__))

    def exec(self, process: Process) -> None:
        """Give a process the cells of a program that has just been started."""
        driver = self._values(self._driver)
        process.cells = [fresh(value) for value, (_, _, fresh, _) in zip(driver, self._names, strict=True)]
        process.bodies = [(owner, fresh()) for owner, fresh, _ in self._bodies]

    def fork(self, parent: Process, process: Process) -> None:
        """Give a process the cells of a child of `parent`."""
        values = self._values(parent)
        process.cells = [fork(value) for value, (_, _, _, fork) in zip(values, self._names, strict=True)]
        bodies = dict((id(owner), body) for owner, body in parent.bodies)
        process.bodies = [(owner, fork(bodies[id(owner)])) for owner, _, fork in self._bodies]

    def _values(self, process: Process) -> list[Any]:
        if process is self.running:
            return [namespace[name] for namespace, name, _, _ in self._names]
        return list(process.cells)

    def restore(self) -> None:
        """Let the driver's values stand at the end."""
        if self.running is not self._driver:
            self.switch(self.running, self._driver)
            self.running = self._driver

    def _generate(self) -> Callable[[Process, Process], None]:
        environment: dict[str, Any] = {}
        places = []
        for index, (namespace, name, _, _) in enumerate(self._names):
            environment[f"n{index}"] = namespace
            places.append(f"n{index}[{name!r}]")
        lines = ["def switch(old, new):"]
        if places:
            lines.append(f"    old.cells = [{', '.join(places)}]")
            lines.append(f"    {', '.join(places)}, = new.cells")
        lines.append("    for owner, body in new.bodies:")
        lines.append("        owner.__dict__ = body")
        exec("\n".join(lines), environment)
        return environment["switch"]  # type: ignore[no-any-return]
