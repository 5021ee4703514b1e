"""What most tests of the guide begin with: a broker of each kind, and an app as the guide's `proj.celery`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery, signals
from celery.utils.dispatch import Signal

from tests.scene import BROKERS

SIGNALS = [value for value in vars(signals).values() if isinstance(value, Signal)]


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    """URL of the broker: RabbitMQ's, then Redis'."""
    return request.param


@pytest.fixture
def app(broker: str) -> Celery:
    """The app of the guide's examples, with results in Redis."""
    return Celery("proj", broker=broker, backend="redis://")


@pytest.fixture(autouse=True)
def receivers_stay_in_their_test() -> Iterator[None]:
    """The guide connects with decorators and never disconnects."""
    before = [(signal, list(signal.receivers)) for signal in SIGNALS]
    yield
    for signal, receivers in before:
        signal.receivers[:] = receivers
        signal.sender_receivers_cache.clear()
