"""The simulated Redis against a real one; `python -m tests.differential` runs many more cases."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.cases import Run, compare
from tests.differential.redis_cases import draw_case
from tests.differential.redis_run import PLANTS, planted, runner
from tests.differential.servers import redis_server

CASES = 100


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with redis_server() as port, runner(port) as run:
        yield run


@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_the_simulated_redis_and_a_real_one_agree(run: Run, chance: Random) -> None:
    case = draw_case(chance)
    assert run(case)[1] is None or run(case)[1] is None, case


@pytest.mark.parametrize("name", PLANTS)
def test_a_wrong_rule_is_found(run: Run, name: str) -> None:
    with planted(name):
        found = compare(draw_case, run, range(CASES), small=False).difference
    assert "real:" in found
    assert compare(draw_case, run, range(3)).difference == ""
