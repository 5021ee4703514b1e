"""The simulated servers against real ones: the same drawn operations, the same replies, deliveries and final queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One comparison.

    Attributes:
        server: starts a real server; gives its address.
        draw: gives a case; chance is an argument.
        shared: several processes may use one server.
        runner: makes, from an address, what runs a case on both servers.
        marks: the operations and rules that must occur.
        plants: wrong rules by name.
        plant: the model with one of them.
    """

    server: Callable[[], AbstractContextManager[Any]]
    shared: bool
    draw: Callable[[Random], Any]
    runner: Callable[[Any], AbstractContextManager[Any]]
    marks: tuple[str, ...]
    plants: Mapping[str, Any]
    plant: Callable[[str], AbstractContextManager[None]]


def kinds() -> dict[str, Kind]:
    """All comparisons, by the server's protocol."""
    from tests.differential import amqp_cases, amqp_run, coverage, redis_cases, redis_run, servers

    return {
        "amqp": Kind(
            servers.rabbitmq_server,
            True,  # each case has names of its own
            amqp_cases.draw_case,
            amqp_run.runner,
            coverage.AMQP_MARKS,
            amqp_run.PLANTS,
            amqp_run.planted,
        ),
        "redis": Kind(
            servers.redis_server,
            False,  # each case empties it
            redis_cases.draw_case,
            redis_run.runner,
            redis_run.MARKS,
            redis_run.PLANTS,
            redis_run.planted,
        ),
    }
