"""Fixtures of the tests of Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.redis_scene import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.install()
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> redis.Redis:
    """A client of the test itself, as `redis.Redis()` makes it."""
    assert world.redis
    return redis.Redis()
