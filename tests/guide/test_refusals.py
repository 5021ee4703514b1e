"""What cannot be served says so at the start, and names what to do instead."""

from __future__ import annotations

import pytest
from celery import Celery

from tasksim import Simulation
from tasksim.errors import UnsupportedError


@pytest.mark.parametrize("url", ["sqs://", "kafka://localhost:9092", "mongodb://localhost", "filesystem://"])
def test_a_broker_that_is_not_simulated_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(UnsupportedError, match=r'is not simulated.*broker="amqp://"'), Simulation(Celery(broker=url)):
        pass
