"""What comes back when a Redis is stopped or killed and started again: the simulated one against a real one."""

from __future__ import annotations

from pathlib import Path

import redis

from tests.differential.servers import restarted_redis
from tests.redis_scene import World

#: A snapshot is due within so many seconds after the first write, if the rule asks for one after a second.
PAUSE = 2.6
CONFIGURATIONS = {
    "nothing": {"save": ""},
    "a snapshot each second": {"save": "1 1"},
    "a snapshot each hour": {"save": "3600 1"},
    "each write": {"save": "", "appendonly": "yes", "appendfsync": "always"},
    "each second": {"save": "", "appendonly": "yes", "appendfsync": "everysec"},
    "the system's own pace": {"save": "", "appendonly": "yes", "appendfsync": "no"},
    "both": {"save": "1 1", "appendonly": "yes"},
}


def on_model(config: dict[str, str], how: str) -> list[bytes]:
    """What the simulated server holds afterwards."""
    world = World()
    world.redis.settings = config
    world.install()
    try:
        client = redis.Redis()
        client.lpush("first", "1")
        world.sleep(PAUSE)
        client.lpush("last", "1")
        world.server.stop(how)
        world.server.start()
        return sorted(client.keys())
    finally:
        world.close()


def test_the_same_is_left_after_a_stop_and_after_a_kill(tmp_path: Path) -> None:
    cases = {f"{name}, {how}": (config, how) for name, config in CONFIGURATIONS.items() for how in ("stop", "kill")}
    left = restarted_redis(tmp_path, cases, PAUSE)
    assert left == {name: on_model(config, how) for name, (config, how) in cases.items()}
