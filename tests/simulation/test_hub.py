"""kombu's hub, in a program of the user's own."""

from __future__ import annotations

import select

from kombu.asynchronous.hub import Hub

from tasksim import Simulation
from tests.scene import REDIS, make_app


def test_a_hub_without_a_connection_sleeps_in_virtual_time() -> None:
    called = []
    with Simulation(make_app(), workers=0) as sim:
        hub = Hub()
        hub.call_later(30, called.append, True)
        while not called:
            hub.run_once()
        assert 30 <= sim.now < 31
        hub.close()


def test_select_sees_the_socket_of_a_client() -> None:
    with Simulation(make_app(REDIS), workers=0) as sim:
        import redis

        connection = redis.Redis(single_connection_client=True).connection
        assert connection is not None
        connection.connect()
        sock = connection._sock
        assert select.select([sock], [sock], [], 2) == ([], [sock], [])
        assert select.select([sock], [], [], 2) == ([], [], [])
        assert sim.now == 2
        connection.send_command("PING")
        assert select.select([sock], [], []) == ([sock], [], [])
