"""What libraries and operators ask a simulated Redis about itself."""

from __future__ import annotations

import pytest
import redis

from tests.redis_scene import World


def test_info_tells_what_clients_read(world: World, client: redis.Redis) -> None:
    client.set("a", 1, ex=100)
    client.set("b", 1)
    info = client.info()
    assert info["redis_version"] == f"{world.server.version}.0"
    assert info["role"] == "master"
    assert info["db0"] == {"keys": 2, "expires": 1, "avg_ttl": 0}
    assert client.info("clients") == {"connected_clients": 1, "maxclients": 10000, "blocked_clients": 0}


def test_config_get_gives_defaults_and_what_was_set(client: redis.Redis) -> None:
    assert client.config_get("maxmemory*") == {
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "maxmemory-samples": "5",
    }
    client.config_set("maxmemory", 100)
    assert client.config_get("maxmemory") == {"maxmemory": "100"}


def test_questions_about_keys(client: redis.Redis) -> None:
    client.set("number", 12)
    client.set("text", "abc")
    client.rpush("list", "a")
    assert [client.object("encoding", key) for key in ("number", "text", "list", "none")] == [
        b"int",
        b"embstr",
        b"listpack",
        None,
    ]
    assert client.touch("number", "none", "list") == 2


def test_a_server_alone_has_no_replica_and_no_cluster(client: redis.Redis) -> None:
    assert client.role() == [b"master", 0, []]
    assert client.wait(1, 100) == 0
    assert client.slowlog_len() == 0
    with pytest.raises(redis.ResponseError, match="cluster support disabled"):
        client.execute_command("CLUSTER", "INFO")


def test_quit_ends_the_connection_after_its_reply(world: World) -> None:
    connection = redis.Connection()
    connection.connect()
    connection.send_command("QUIT")
    assert connection.read_response() == b"OK"
    world.sleep(0.1)
    with pytest.raises(redis.ConnectionError):
        connection.read_response()


def test_an_unknown_command_is_refused_in_a_servers_words(client: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError, match="unknown command 'NOSUCH', with args beginning with: 'a' 'b' "):
        client.execute_command("NOSUCH", "a", "b")
    with pytest.raises(redis.ResponseError, match=r"unknown subcommand 'NOSUCH'. Try CLIENT HELP."):
        client.execute_command("CLIENT", "NOSUCH")
