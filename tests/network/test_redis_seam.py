"""What is exchanged in redis-py while a simulation runs."""

from __future__ import annotations

from typing import Any

import redis
from celery import Celery

from tasksim import Simulation


def table(client: redis.Redis) -> dict[str, Any]:
    return dict(client.response_callbacks)


def test_clients_have_the_callbacks_that_they_have_outside_each_its_own() -> None:
    outside = {protocol: table(redis.Redis(protocol=protocol)) for protocol in (2, 3)}
    with Simulation(Celery(broker="redis://", set_as_current=False), workers=0):
        for _ in range(2):  # made anew, and known already
            for protocol, callbacks in outside.items():
                client = redis.Redis(protocol=protocol)
                assert table(client) == callbacks
                client.set_response_callback("get", lambda _: "changed")
                assert client.response_callbacks["GET"](b"") == "changed"
                assert table(redis.Redis(protocol=protocol)) == callbacks
