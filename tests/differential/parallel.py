"""The cases of one comparison, in several processes on one real server."""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from contextlib import nullcontext

from tests.differential import kinds
from tests.differential.cases import Outcome, compare

__all__ = ["run"]


def _part(arguments: tuple[str, object, int, int, int, str]) -> Outcome:
    name, address, first, cases, step, plant = arguments
    logging.disable(logging.CRITICAL)  # py-amqp's warnings about channels that the server closes
    kind = kinds()[name]
    with nullcontext(address) if kind.shared else kind.server() as at, kind.planted(plant):
        return compare(kind.draw, kind.runner(at), range(first, first + cases, step))


def run(name: str, cases: int, first: int, jobs: int, plant: str) -> Outcome:
    """Start the real server, and run so many cases; with `plant`, on a model with that wrong rule."""
    kind = kinds()[name]
    with kind.server() if kind.shared else nullcontext() as address:
        parts = [(name, address, first + job, cases - job, jobs, plant) for job in range(jobs)]
        if jobs == 1:
            found = [_part(parts[0])]
        else:
            with multiprocessing.get_context("spawn").Pool(jobs) as pool:
                found = pool.map(_part, parts)
    whole = Outcome(sum(one.cases for one in found), sum((one.marks for one in found), Counter()))
    whole.difference = next((one.difference for one in found if one.difference), "")
    return whole
