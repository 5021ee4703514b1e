"""The cases of one comparison, in several processes on one real server."""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from tests.differential import kinds
from tests.differential.cases import Outcome, compare

__all__ = ["find", "run"]


def _part(arguments: tuple[str, object, int, int, int]) -> Outcome:
    name, address, first, cases, step = arguments
    logging.disable(logging.CRITICAL)  # py-amqp's warnings about channels that the server closes
    kind = kinds()[name]
    with nullcontext(address) if kind.shared else kind.server() as at, kind.runner(at) as run_case:
        return compare(kind.draw, run_case, range(first, first + cases, step))


def run(name: str, cases: int, first: int, jobs: int) -> Outcome:
    """Start the real server, and run so many cases."""
    kind = kinds()[name]
    with kind.server() if kind.shared else nullcontext() as address:
        parts = [(name, address, first + job, cases - job, jobs) for job in range(jobs)]
        if jobs == 1:
            found = [_part(parts[0])]
        else:
            with multiprocessing.get_context("spawn").Pool(jobs) as pool:
                found = pool.map(_part, parts)
    whole = Outcome(sum(one.cases for one in found), sum((one.marks for one in found), Counter()))
    whole.unsteady = sum(one.unsteady for one in found)
    whole.difference = next((one.difference for one in found if one.difference), "")
    return whole


def find(name: str, plants: Iterable[str], cases: int, first: int) -> Iterator[tuple[str, Outcome]]:
    """What becomes of each wrong rule; one process, one server."""
    logging.disable(logging.CRITICAL)
    kind = kinds()[name]
    with kind.server() as address, kind.runner(address) as run_case:
        for plant in plants:
            with kind.plant(plant):
                yield plant, compare(kind.draw, run_case, range(first, first + cases), small=False)
