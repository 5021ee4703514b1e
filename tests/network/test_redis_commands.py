"""What a client sees of one simulated Redis server."""

from __future__ import annotations

import random
import time

import pytest
import redis

from tests.redis_scene import EPOCH, World


def test_a_blocked_pop_wakes_at_the_very_instant_of_the_push(world: World, client: redis.Redis) -> None:
    got = []
    world.process("w1", lambda: got.append((redis.Redis().brpop("queue", 30), world.now())))
    world.sleep(1.25)
    client.lpush("queue", "hello")
    world.sleep(1)
    assert got == [((b"queue", b"hello"), 1.25)]


def test_a_blocked_pop_gives_up_when_its_time_is_over(world: World) -> None:
    got = []
    world.process("w1", lambda: got.append((redis.Redis().blpop("queue", 1.5), world.now())))
    world.sleep(3)
    assert got == [(None, 1.5)]


def test_who_blocked_first_is_served_first(world: World, client: redis.Redis) -> None:
    got = []
    for name in ("w1", "w2", "w3"):
        world.process(name, lambda name=name: got.append((name, redis.Redis().brpop("queue")[1])))
        world.sleep(0.1)
    client.rpush("queue", "a", "b")
    world.sleep(1)
    assert sorted(got) == [("w1", b"b"), ("w2", b"a")]


def test_a_blocked_client_is_served_after_a_transaction_not_within_it(world: World, client: redis.Redis) -> None:
    got = []
    world.process("w1", lambda: got.append(redis.Redis().brpop("queue")))
    world.sleep(0.1)
    with client.pipeline() as pipe:
        pipe.lpush("queue", "a").llen("queue")
        assert pipe.execute() == [1, 1]
    assert client.llen("queue") == 0


def test_a_push_by_a_script_wakes_a_blocked_client(world: World, client: redis.Redis) -> None:
    got = []
    world.process("w1", lambda: got.append((redis.Redis().brpop("queue"), world.now())))
    world.sleep(0.5)
    client.eval("return redis.call('LPUSH', KEYS[1], ARGV[1])", 1, "queue", "a")
    world.sleep(1)
    assert got == [((b"queue", b"a"), 0.5)]


def test_a_pop_in_a_transaction_does_not_block(client: redis.Redis) -> None:
    with client.pipeline() as pipe:
        pipe.brpop("queue").llen("queue")
        assert pipe.execute() == [None, 0]


def test_a_blocked_move_takes_what_arrives(world: World, client: redis.Redis) -> None:
    got = []
    world.process("w1", lambda: got.append(redis.Redis().blmove("from", "to", 10, "RIGHT", "LEFT")))
    world.sleep(1)
    assert client.exists("from", "to") == 0
    client.lpush("from", "a")
    world.sleep(1)
    assert got == [b"a"]
    assert client.lrange("to", 0, -1) == [b"a"]
    assert client.exists("from") == 0


def test_a_move_onto_itself_rotates(client: redis.Redis) -> None:
    client.rpush("ring", "a", "b", "c")
    assert client.blmove("ring", "ring", 1, "RIGHT", "LEFT") == b"c"
    assert client.lrange("ring", 0, -1) == [b"c", b"a", b"b"]


def test_a_blocked_reader_of_a_stream_sees_the_entry(world: World, client: redis.Redis) -> None:
    got = []
    world.process("w1", lambda: got.append(redis.Redis().xread({"events": "$"}, block=0)))
    world.sleep(1)
    client.xadd("events", {"a": "1"}, id="5-1")
    world.sleep(1)
    assert len(got) == 1
    assert "5-1" in str(got[0])


def test_a_blocked_client_can_be_unblocked_by_another(world: World, client: redis.Redis) -> None:
    got: list[object] = []

    def waits() -> None:
        own = redis.Redis(single_connection_client=True)
        got.append(own.client_id())
        try:
            own.brpop("queue")
        except redis.ResponseError as exc:
            got.append(str(exc))

    world.process("w1", waits)
    world.sleep(1)
    client.client_unblock(got[0], error=True)
    world.sleep(1)
    assert got[1:] == ["UNBLOCKED client unblocked via CLIENT UNBLOCK"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_subscriber_hears_messages_and_patterns(world: World, protocol: int) -> None:
    client = redis.Redis(protocol=protocol)
    got = []

    def listens() -> None:
        subscriber = redis.Redis(protocol=protocol).pubsub(ignore_subscribe_messages=True)
        subscriber.subscribe("news")
        subscriber.psubscribe("ne*")
        for _ in range(2):
            message = next(subscriber.listen())
            got.append((message["type"], message["data"], world.now()))

    world.process("w1", listens)
    world.sleep(2)
    assert client.publish("news", "first") == 2
    world.sleep(1)
    assert got == [("message", b"first", 2.0), ("pmessage", b"first", 2.0)]


def test_a_list_that_looks_like_a_message_is_no_push(client: redis.Redis) -> None:
    client.rpush("list", "message", "channel", "text")
    assert client.lrange("list", 0, -1) == [b"message", b"channel", b"text"]


def test_keyspace_events_are_off_as_in_a_server_that_nobody_configured(world: World, client: redis.Redis) -> None:
    got: list[object] = []

    def listens() -> None:
        subscriber = redis.Redis().pubsub(ignore_subscribe_messages=True)
        subscriber.psubscribe("__key*__:*")
        got.append(subscriber.get_message(timeout=5))
        got.append(subscriber.get_message(timeout=5))

    world.process("w1", listens)
    world.sleep(1)
    client.set("a", "1")
    world.sleep(20)
    assert got == [None, None]


def test_a_watched_key_that_changes_spoils_the_transaction(client: redis.Redis) -> None:
    with client.pipeline() as pipe:
        pipe.watch("a")
        redis.Redis().set("a", "changed")
        pipe.multi()
        pipe.set("a", "mine")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert client.get("a") == b"changed"


def test_an_error_while_queueing_aborts_the_transaction(client: redis.Redis) -> None:
    with client.pipeline() as pipe:
        pipe.set("a", "1")
        pipe.execute_command("GET")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments for 'get'"):
            pipe.execute()
    assert client.get("a") is None


def test_errors_of_commands_reach_the_client_by_their_kind(client: redis.Redis) -> None:
    client.set("text", "a")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE Operation against a key"):
        client.lpush("text", "b")
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NOSUCH")


def test_keys_expire_in_virtual_time(world: World, client: redis.Redis) -> None:
    client.set("a", "1", ex=60)
    world.sleep(59)
    assert client.ttl("a") == 1
    world.sleep(2)
    assert client.get("a") is None


def test_the_servers_clock_is_virtual(world: World, client: redis.Redis) -> None:
    world.sleep(7.5)
    assert client.time() == (EPOCH + 7, 500_000)


def test_the_server_tells_its_version_and_how_many_keys_it_has(client: redis.Redis) -> None:
    client.set("a", "1")
    found = client.info()
    assert (found["redis_version"], found["role"]) == ("7.2.0", "master")
    assert found["db0"]["keys"] == 1
    assert "role" not in client.info("server")


def test_a_lock_of_two_processes_is_held_by_one_at_a_time(world: World) -> None:
    order = []

    def works(name: str) -> None:
        with redis.Redis().lock("lock", timeout=60, sleep=0.1):
            order.append((name, "in", world.now()))
            time.sleep(2)
            order.append((name, "out", world.now()))

    world.process("w1", lambda: works("w1"))
    world.sleep(0.05)
    world.process("w2", lambda: works("w2"))
    world.sleep(10)
    assert [(name, what) for name, what, _ in order] == [("w1", "in"), ("w1", "out"), ("w2", "in"), ("w2", "out")]
    assert order[1][2] == 2.0
    assert order[2][2] == pytest.approx(2.05)


def test_a_lock_expires_in_virtual_time_and_says_so(world: World, client: redis.Redis) -> None:
    lock = client.lock("lock", timeout=5)
    assert lock.acquire()
    world.sleep(6)
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        lock.release()


@pytest.mark.parametrize("protocol", [2, 3])
def test_big_and_odd_values_come_back_as_they_went(world: World, protocol: int) -> None:
    assert world.redis
    client = redis.Redis(protocol=protocol)
    values = [b"", b"\r\n$5\r\n*1\r\n", bytes(range(256)), b"x" * 3_000_000]
    for value in values:
        client.set("a", value)
        assert client.get("a") == value
    client.zadd("scores", {"a": 0.1, "b": 3, "c": 1e300, "d": float("inf")})
    assert client.zrange("scores", 0, -1, withscores=True) == client.zrange("scores", 0, -1, withscores=True)
    assert client.zscore("scores", "a") == 0.1
    assert client.zscore("scores", "d") == float("inf")
    client.hset("hash", mapping={"f": "1", "g": "2"})
    assert client.hgetall("hash") == {b"f": b"1", b"g": b"2"}
    assert client.smembers("none") == set()


def test_a_long_pipeline_is_answered_whole(client: redis.Redis) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(3000):
            pipe.set(f"key{number}", number)
        assert pipe.execute() == [True] * 3000


def test_chance_comes_from_the_seed_and_leaves_the_users_alone(world: World, client: redis.Redis) -> None:
    state = random.getstate()
    client.sadd("set", *range(50))
    first = [client.srandmember("set") for _ in range(5)], client.spop("set", 3), client.randomkey()
    assert random.getstate() == state
    assert first[0] != [first[0][0]] * 5
    world.close()

    again = World()
    again.install()
    try:
        client = redis.Redis()
        client.sadd("set", *range(50))
        assert ([client.srandmember("set") for _ in range(5)], client.spop("set", 3), client.randomkey()) == first
    finally:
        again.close()


def test_a_scripts_own_chance_begins_anew_in_each_script(client: redis.Redis) -> None:
    script = "return {tostring(math.random()), tostring(math.random())}"
    first = client.eval(script, 0)
    assert first[0] != first[1]
    assert client.eval(script, 0) == first


def test_members_of_a_set_are_kept_in_the_order_of_their_adding(client: redis.Redis) -> None:
    names = [f"queue-{number}" for number in range(40)]
    client.sadd("set", *names)
    raw = client.execute_command("SORT", "set", "BY", "nosort")
    assert [name.decode() for name in raw] == names


def test_any_password_is_right(world: World) -> None:
    assert world.redis
    assert redis.Redis(username="user", password="secret").ping()
    assert redis.Redis(password="secret", protocol=2).ping()


def test_the_server_gives_its_own_version(world: World) -> None:
    assert world.redis
    client = redis.Redis(protocol=3)
    assert client.execute_command("HELLO", "3")[b"version"] == b"7.2.0"
