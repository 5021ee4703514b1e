"""The simulated RabbitMQ against a real one; `python -m tests.differential` runs many more cases."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.amqp_cases import draw_case
from tests.differential.amqp_run import PLANTS, planted, runner
from tests.differential.cases import Run, compare
from tests.differential.servers import rabbitmq_server

CASES = 100
#: py-amqp leaves the sockets of connections that the server has closed to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with rabbitmq_server() as address, runner(address) as run:
        yield run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # here, and not in the middle of somebody else's test


@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_the_model_and_rabbitmq_agree(run: Run, chance: Random) -> None:
    case = draw_case(chance)
    assert run(case)[1] is None or run(case)[1] is None, case


def test_a_wrong_rule_is_found(run: Run) -> None:
    with planted("headers must all match"):
        found = compare(draw_case, run, range(CASES), small=False).difference
    assert "real:" in found


def test_a_case_is_drawn_from_its_seed_alone() -> None:
    drawn = [[str(draw_case(Random(seed))) for seed in range(20)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 20


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_rule_is_taken_out_again(name: str) -> None:
    owner, attribute, wrong = PLANTS[name]
    right = getattr(owner, attribute)
    with planted(name):
        assert getattr(owner, attribute) is wrong
    assert getattr(owner, attribute) is right
