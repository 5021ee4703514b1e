"""Redis behind the URLs that apps have in production: sentinels, TLS, prefixes, users."""

from __future__ import annotations

from typing import Any

import pytest

from tasksim import Simulation
from tests.scene import make_app, sleeper

NAMED = {"master_name": "shop"}
SETTINGS: dict[str, dict[str, Any]] = {
    "sentinel": {
        "broker": "sentinel://one:26379;sentinel://two:26379",
        "backend": "sentinel://one:26379;sentinel://two:26379",
        "broker_transport_options": NAMED,
        "result_backend_transport_options": NAMED,
    },
    "tls": {
        "broker": "rediss://:secret@cache.example:6380/1?ssl_cert_reqs=none",
        "backend": "rediss://:secret@cache.example:6380/2?ssl_cert_reqs=required",
    },
    "prefix": {
        "broker": "redis://user:secret@cache.example/",
        "backend": "redis://user:secret@cache.example/",
        "broker_transport_options": {"global_keyprefix": "shop:"},
        "result_backend_transport_options": {"global_keyprefix": "shop:"},
    },
    "unix": {"broker": "redis+socket:///run/redis.sock", "backend": "redis+socket:///run/redis.sock?virtual_host=2"},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_task_runs_and_its_message_is_seen(kind: str) -> None:
    app = make_app(**SETTINGS[kind])
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "visibility_timeout": 60}
    task = sleeper(app, acks_late=True)
    with Simulation(app, workers=2) as sim:
        result = task.delay(5)
        sim.kill(worker="w1", at=1)
        sim.kill(worker="w2", at=1)
        sim.start_worker("w3", at=2)
        sim.advance(3)
        assert [row.unacked for row in sim.queues.values() if row.name == "celery"] == [1]
        assert result.get(timeout=200) == 5
        sim.run()
        assert len(sim.trace.of(result).starts) == 2
        assert sim.check() == []


def test_each_named_master_is_a_server_of_its_own() -> None:
    import redis
    from redis.sentinel import Sentinel

    settings = dict(SETTINGS["sentinel"], result_backend_transport_options={"master_name": "results"})
    with Simulation(make_app(**settings), workers=0):
        sentinel = Sentinel([("one", 26379)])
        assert sentinel.discover_master("shop") == ("127.0.0.1", 6379)
        assert sentinel.discover_master("results") == ("127.0.0.1", 6380)
        sentinel.master_for("results").set("a", "b")
        assert redis.Redis(port=6380).get("a") == b"b"
        assert sentinel.slave_for("results").get("a") == b"b"
        with pytest.raises(redis.sentinel.MasterNotFoundError):
            sentinel.discover_master("nobody")
