"""What most tests of the guide begin with: a broker of each kind, and an app as the guide's `proj.celery`."""

from __future__ import annotations

import pytest
from celery import Celery

from tests.scene import BROKERS


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    """URL of the broker: RabbitMQ's, then Redis'."""
    return request.param


@pytest.fixture
def app(broker: str) -> Celery:
    """The app of the guide's examples, with results in Redis."""
    return Celery("proj", broker=broker, backend="redis://")
