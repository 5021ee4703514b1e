"""What a simulated Redis keeps, what it refuses without memory, and what its commands say of both."""

from __future__ import annotations

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.redis_scene import World

OOM = "command not allowed when used memory > 'maxmemory'"


def restart(world: World, how: str) -> None:
    world.server.stop(how)
    world.sleep(1)
    world.server.start()


def test_save_and_bgsave_take_a_snapshot_that_a_kill_comes_back_to(world: World, client: redis.Redis) -> None:
    client.set("a", "1")
    began = client.lastsave()
    world.sleep(3)
    assert client.save()
    assert (client.lastsave() - began).total_seconds() == pytest.approx(3, abs=1)
    client.rpush("l", "1", "2")
    client.zadd("z", {"m": 1})
    client.hset("h", "f", "v")
    client.sadd("s", "m")
    client.bgsave()
    client.rpush("l", "3")
    client.zadd("z", {"n": 2})
    client.hset("h", "g", "w")
    client.srem("s", "m")
    client.delete("a")
    restart(world, "kill")
    assert client.lrange("l", 0, -1) == [b"1", b"2"]
    assert client.zrange("z", 0, -1) == [b"m"]
    assert client.hgetall("h") == {b"f": b"v"}
    assert client.smembers("s") == {b"m"}
    assert client.get("a") == b"1"


def test_info_tells_of_snapshots_and_of_memory(world: World, client: redis.Redis) -> None:
    client.config_set("save", "100 10", "maxmemory", "2mb", "maxmemory-policy", "allkeys-random")
    client.set("a", "1")
    info = client.info()
    assert info["rdb_changes_since_last_save"] == 1
    assert info["maxmemory"] == 2 * 1024 * 1024
    assert info["maxmemory_policy"] == "allkeys-random"
    assert info["evicted_keys"] == 0
    client.save()
    assert client.info("persistence")["rdb_changes_since_last_save"] == 0
    assert client.info("persistence")["rdb_saves"] == 1


def test_the_rule_that_is_due_first_counts(world: World, client: redis.Redis) -> None:
    client.config_set("save", "10 1 2 3")
    client.set("a", "1")
    world.sleep(5)
    assert client.info("persistence")["rdb_saves"] == 0
    client.set("b", "1")
    client.set("c", "1")
    world.sleep(0.2)
    assert client.info("persistence")["rdb_saves"] == 1
    client.set("d", "1")
    world.sleep(12)
    assert client.info("persistence")["rdb_saves"] == 2
    world.sleep(100)
    assert client.info("persistence")["rdb_saves"] == 2


def test_all_of_config_set_holds_or_none_of_it(world: World, client: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError, match="related to argument 'maxmemory-policy'"):
        client.config_set("maxmemory", "1mb", "maxmemory-policy", "oldest")
    assert client.config_get("maxmemory") == {"maxmemory": "0"}


def test_without_memory_writes_are_refused_and_reads_and_removals_go_on(world: World, client: redis.Redis) -> None:
    client.set("a", "1")
    client.rpush("l", "1", "2")
    world.server.fill_memory()
    for refused in (
        lambda: client.set("b", "1"),
        lambda: client.lpush("l", "3"),
        lambda: client.zadd("z", {"m": 1}),
        lambda: client.eval("return redis.call('SET', 'x', '1')", 0),
    ):
        with pytest.raises(redis.exceptions.OutOfMemoryError, match=OOM):
            refused()
    assert client.get("a") == b"1"
    assert client.brpop("l", 1) == (b"l", b"2")
    assert client.delete("a") == 1
    assert client.eval("return redis.call('LLEN', 'l')", 0) == 1
    world.server.free_memory()
    assert client.set("b", "1")


def test_a_transaction_without_memory_is_given_up(world: World, client: redis.Redis) -> None:
    world.server.fill_memory()
    with client.pipeline() as pipe, pytest.raises(redis.exceptions.OutOfMemoryError, match=OOM):
        pipe.get("a").expire("a", 1).execute()
    world.server.free_memory()
    pipe = client.pipeline()
    assert pipe.set("a", "1").get("a").execute() == [True, b"1"]


operations = st.lists(
    st.tuples(
        st.sampled_from(["rpush", "lpop", "hset", "hdel", "zadd", "zrem", "set", "delete", "expire", "flush"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.25, 1.0]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(operations, st.integers(0, 24))
def test_what_a_server_held_at_a_moment_is_what_a_look_at_that_moment_showed(
    drawn: list[tuple[str, str, int, float]], which: int
) -> None:
    world = World()
    world.install()
    try:
        client = redis.Redis(host="localhost", port=6379)
        server = world.server
        server.keep_history(1000)
        seen = []
        for kind, name, value, pause in drawn:
            world.sleep(pause + 0.001)
            seen.append((world.kernel.now_ns, held(client)))
            world.sleep(0.001)
            words = {
                "rpush": ["RPUSH", f"l{name}", value], "lpop": ["LPOP", f"l{name}"],
                "hset": ["HSET", f"h{name}", value, value], "hdel": ["HDEL", f"h{name}", value],
                "zadd": ["ZADD", f"z{name}", value, value], "zrem": ["ZREM", f"z{name}", value],
                "set": ["SET", f"k{name}", value], "delete": ["DEL", f"l{name}", f"k{name}", f"z{name}"],
                "expire": ["EXPIRE", f"k{name}", 1000], "flush": ["FLUSHDB"],
            }  # fmt: skip
            client.execute_command(*words[kind])
        if seen:
            moment_ns, wanted = seen[which % len(seen)]
            server.stop()
            server.take_over(server.replicated((world.kernel.now_ns - moment_ns) / 1e9), "failover")
            server.running = True
            assert held(client) == wanted
    finally:
        world.close()


def held(client: redis.Redis) -> list[object]:
    """All that the server holds."""
    lists = [client.lrange(f"l{name}", 0, -1) for name in "ab"]
    hashes = [client.hgetall(f"h{name}") for name in "ab"]
    sets = [client.zrange(f"z{name}", 0, -1, withscores=True) for name in "ab"]
    return [lists, hashes, sets, client.mget("ka", "kb"), [client.ttl(f"k{name}") > 0 for name in "ab"]]
