"""The simulated Redis against a real one; `python -m tests.differential` runs many more cases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.cases import Run, compare
from tests.differential.redis_cases import draw_case
from tests.differential.redis_run import PLANTS, planted, runner
from tests.differential.servers import redis_server

CASES = 100


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with redis_server() as port, runner(port) as run:
        yield run


def test_the_simulated_redis_and_a_real_one_agree(run: Run) -> None:
    outcome = compare(draw_case, run, range(CASES))
    assert outcome.difference == ""
    assert outcome.cases == CASES


@pytest.mark.parametrize("name", PLANTS)
def test_a_wrong_rule_is_found(run: Run, name: str) -> None:
    with planted(name):
        found = compare(draw_case, run, range(CASES), small=False).difference
    assert "real:" in found
    assert compare(draw_case, run, range(3)).difference == ""
