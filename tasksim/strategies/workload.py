"""Calls, workloads, workers and seeds as values to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tasksim.errors import UsageError
from tasksim.simulation import Simulation

Drawn = st.SearchStrategy[Any]


@dataclass(frozen=True)
class Call:
    """A call of a task.

    Attributes:
        task: the task's name.
        at: when it is published, in seconds since the start.
        options: further arguments of `apply_async`: countdown, expires, queue, priority, ...
    """

    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def publish(self, sim: Simulation) -> Any:
        """Publish it now; its result."""
        task = sim.app.tasks.get(self.task)
        if task is None:
            raise UsageError(f"Call(task={self.task!r}): the simulation's app has no such task")
        return task.apply_async(self.args, dict(self.kwargs), **self.options)


def calls(
    task: Any,
    *,
    args: Drawn | None = None,
    kwargs: Drawn | None = None,
    at: Drawn | None = None,
    countdown: Drawn | None = None,
    expires: Drawn | None = None,
    **options: Drawn,
) -> st.SearchStrategy[Call]:
    """Calls of one task.

    Args:
        task: the task, or its name.
        args: strategy for its positional arguments, a tuple; without it there are none.
        kwargs: strategy for its keyword arguments, a dictionary.
        at: strategy for the time of publishing; without it 0.
        countdown: strategy for a countdown; values None are left out. So with `expires` and all other options.
        options: strategies for further arguments of `apply_async`.
    """
    name = task if isinstance(task, str) else task.name
    chosen = {"countdown": countdown, "expires": expires, **options}
    given = st.fixed_dictionaries({key: one for key, one in chosen.items() if one is not None})
    return st.builds(
        Call,
        st.just(name),
        args=st.just(()) if args is None else args.map(tuple),
        kwargs=st.just({}) if kwargs is None else kwargs,
        at=st.just(0.0) if at is None else at,
        options=given.map(lambda drawn: {key: value for key, value in drawn.items() if value is not None}),
    )


def workloads(
    *tasks: Any, min_size: int = 1, max_size: int = 8, at: Drawn | None = None
) -> st.SearchStrategy[list[Call]]:
    """Lists of calls, by time of publishing.

    Args:
        tasks: strategies for calls (see `calls`), or tasks that take no arguments.
        at: strategy for the times of publishing of the tasks; without it the whole seconds from 0 to 10.
    """
    if not tasks:
        raise UsageError("workloads(): give at least one task, or one strategy for calls")
    times = st.integers(0, 10).map(float) if at is None else at
    single = [one if isinstance(one, st.SearchStrategy) else calls(one, at=times) for one in tasks]
    drawn = st.lists(st.one_of(single), min_size=min_size, max_size=max_size)
    return drawn.map(lambda found: sorted(found, key=lambda call: call.at))


# --- workers and seeds


def worker_options(
    *, max_workers: int = 3, max_concurrency: int = 3, max_prefetch: int = 4
) -> st.SearchStrategy[dict[str, dict[str, int]]]:
    """Values for the argument `workers` of `Simulation`: w1, w2, ... with a concurrency and a prefetch multiplier."""
    options = st.fixed_dictionaries(
        {"concurrency": st.integers(1, max_concurrency), "prefetch_multiplier": st.integers(1, max_prefetch)}
    )
    several = st.lists(options, min_size=1, max_size=max_workers)
    return several.map(lambda drawn: {f"w{number}": one for number, one in enumerate(drawn, 1)})


def seeds() -> st.SearchStrategy[int]:
    """Seeds of a simulation; the smallest takes the first candidate everywhere."""
    return st.integers(0, 2**16)
