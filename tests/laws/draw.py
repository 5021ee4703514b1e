"""Strategies that several laws draw from."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from hypothesis import strategies as st
from packaging.version import Version

from tests.laws.worlds import Setup, Turn


def since(release: str, values: list[Any]) -> st.SearchStrategy[Any]:
    """One of these values, the last of which Celery knows from this release on only."""
    known = Version(importlib.metadata.version("celery")) >= Version(release)
    return st.sampled_from(values if known else values[:-1])


#: From kombu 5.7 on it knows that the prefetch is fixed on RabbitMQ 4.
rabbits = st.sampled_from(
    ["3.13", "4.1"] if Version(importlib.metadata.version("kombu")) >= Version("5.7") else ["3.13"]
)
#: Redis costs twice as much to simulate.
brokers = st.sampled_from(["amqp", "amqp", "redis"])
seeds = st.integers(0, 5)
#: Durations that do not fall on the instants at which faults are injected.
seconds = st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0, 9.0])


def setups(**fixed: Any) -> st.SearchStrategy[Setup]:
    """A world with one or two workers; keyword arguments are values, or strategies, for its fields."""
    drawn: dict[str, Any] = {
        "broker": brokers, "late": st.booleans(), "workers": st.integers(1, 2), "slots": st.integers(1, 2),
        "prefetch": st.integers(1, 4), "seed": seeds, "by_task": st.booleans(),
    }  # fmt: skip
    for name, value in fixed.items():
        drawn[name] = value if isinstance(value, st.SearchStrategy) else st.just(value)
    return st.builds(Setup, **drawn)


def turns(*ends: str) -> st.SearchStrategy[Turn]:
    """A turn that ends in one of these ways."""
    return st.builds(Turn, end=st.sampled_from(ends), seconds=seconds)
