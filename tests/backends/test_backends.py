"""Celery's result stores: the same stories on each; Django's are in tests/apps/test_django_results.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.stories import STORIES, Store

STORES = {
    "redis": Store("redis://", pushes=True),
    "rpc": Store("rpc://", shared=False, pushes=True, chords="refused"),
    "cache-memory": Store("cache+memory://", forgets="never"),
    "database-file": Store("db+sqlite:///{folder}/results.sqlite", forgets="at cleanup", chords="unlocked"),
    "database-memory": Store("db+sqlite://", forgets="at cleanup", chords="unlocked"),
    "filesystem": Store("file://{folder}", forgets="at cleanup", chords="unlocked"),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    found = STORES[request.param]
    return replace(found, url=found.url.format(folder=tmp_path))


# Celery saves a group with SETEX, which redis-py calls outdated from 8.1 on.
@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_on_each_store(store: Store, story: Callable[[Store], None]) -> None:
    story(store)
