"""What would really leave the process, and what would really block it."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tasksim import Limits, Simulation
from tasksim.errors import BlockedForReal, ConnectionRefused
from tests.scene import make_app


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """A real server of this machine; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def connect(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return str(connection.getpeername()[0])


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_connection_is_refused_and_the_error_names_the_option(method: str) -> None:
    with (
        listening() as port,
        Simulation(make_app(), workers=0),
        socket.socket() as client,
        pytest.raises(ConnectionRefused, match=rf'allow=\["127.0.0.1:{port}"\]'),
    ):
        getattr(client, method)(("127.0.0.1", port))


def test_a_refused_connection_is_an_os_error_as_a_client_library_expects() -> None:
    with listening() as port, Simulation(make_app(), workers=0), pytest.raises(ConnectionRefusedError):
        connect(port)


def test_a_task_may_not_connect_either() -> None:
    app = make_app()
    task = app.task(shared=False, name="connect")(connect)
    with listening() as port, Simulation(app), pytest.raises(ConnectionRefused, match="w1/1 wants to connect"):
        task.delay(port).get()


def test_the_time_out_that_beat_sets_for_its_sockets_is_beats_alone() -> None:
    app = make_app()

    @app.task(shared=False)
    def ask() -> float | None:
        return socket.getdefaulttimeout()

    with Simulation(app, beat=True) as sim:
        assert ask.delay().get() is None
        sim.advance(10)
        assert socket.getdefaulttimeout() is None
        assert sim.run_in(lambda: (socket.setdefaulttimeout(3), socket.getdefaulttimeout())).result() == (None, 3)
    assert socket.getdefaulttimeout() is None


@contextlib.contextmanager
def hearing() -> Iterator[tuple[socket.socket, int]]:
    """A real socket that takes datagrams, and its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        yield server, server.getsockname()[1]


def send(method: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        if method == "sendto":
            client.sendto(b"1|c", ("127.0.0.1", port))
        elif method == "sendto with flags":
            client.sendto(b"1|c", 0, ("127.0.0.1", port))
        else:
            client.sendmsg([b"1", b"|c"], [], 0, ("127.0.0.1", port))


DATAGRAMS = ["sendto", "sendto with flags", "sendmsg"]


@pytest.mark.parametrize("method", DATAGRAMS)
def test_a_datagram_is_refused_as_a_connection_is(method: str) -> None:
    with (
        hearing() as (_, port),
        Simulation(make_app(), workers=0),
        pytest.raises(ConnectionRefused, match=rf'wants to send to .*allow=\["127.0.0.1:{port}"\]'),
    ):
        send(method, port)


@pytest.mark.parametrize("method", DATAGRAMS)
def test_an_allowed_datagram_is_sent(method: str) -> None:
    with hearing() as (server, port), Simulation(make_app(), workers=0, allow=[f"127.0.0.1:{port}"]):
        send(method, port)
        assert server.recv(10) == b"1|c"


def test_a_pair_of_sockets_within_the_process_is_nobodys_business() -> None:
    with Simulation(make_app(), workers=0):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with one, other:
            one.sendmsg([b"hello"])
            assert other.recv(10) == b"hello"


@pytest.mark.parametrize("ask", [socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr])
def test_nobody_is_asked_for_an_address(ask: Any) -> None:
    name = ask.__name__
    with Simulation(make_app(), workers=0), pytest.raises(ConnectionRefused, match=r"api\.example"):
        getattr(socket, name)("api.example")


def test_the_machine_may_ask_for_itself() -> None:
    with Simulation(make_app(), workers=0):
        assert socket.gethostbyname("localhost") == "127.0.0.1"
        assert socket.getfqdn("localhost")


@pytest.mark.parametrize("allow", ["127.0.0.1", "127.0.0.1:{port}"])
def test_an_allowed_one_is_made_for_real(allow: str) -> None:
    app = make_app()
    task = app.task(shared=False, name="connect")(connect)
    with listening() as port, Simulation(app, allow=[allow.format(port=port)]) as sim:
        assert connect(port) == "127.0.0.1"
        assert task.delay(port).get() == "127.0.0.1"
        assert sim.now < 1


@pytest.mark.parametrize("port_as", [int, str])
def test_an_allowed_name_allows_the_addresses_that_it_has(port_as: Any) -> None:
    with listening() as port, Simulation(make_app(), workers=0, allow=[f"localhost:{port}"]):
        found = socket.getaddrinfo("localhost", port_as(port), socket.AF_INET, socket.SOCK_STREAM)
        with socket.socket() as client:
            client.connect(found[0][4])


def test_another_port_of_an_allowed_host_and_port_is_refused() -> None:
    with (
        listening() as port,
        Simulation(make_app(), workers=0, allow=["127.0.0.1:1"]),
        pytest.raises(ConnectionRefused),
    ):
        connect(port)


def test_not_even_an_address_is_asked_for() -> None:
    with Simulation(make_app(), workers=0), pytest.raises(ConnectionRefused, match=r'allow=\["db.example:5432"\]'):
        socket.getaddrinfo("db.example", 5432)


def test_after_the_end_connections_are_as_ever() -> None:
    with listening() as port:
        with Simulation(make_app(), workers=0):
            pass
        assert connect(port) == "127.0.0.1"


# --- the watchdog


def block_forever() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()  # blocks here


def wait_for_a_real_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.recv(1)  # blocks here


def compute_forever() -> None:
    number = 0
    while True:
        number += 1  # blocks here


@pytest.mark.parametrize("body", [wait_for_a_real_socket, compute_forever])
def test_a_task_that_really_blocks_ends_with_its_process_and_line(body: Any) -> None:
    app = make_app()
    task = app.task(shared=False, name="block")(body)
    with Simulation(app, limits=Limits(block=0.3)) as sim:
        result = task.delay()
        with pytest.raises(BlockedForReal) as caught:
            result.get()
        assert "w1/1" in str(caught.value)
        assert "test_guard.py" in str(caught.value)
        assert f"in {body.__name__}" in str(caught.value)
        assert sim.trace.of(result).starts


def test_a_lock_that_nobody_will_release_does_not_hang() -> None:
    app = make_app()
    task = app.task(shared=False, name="block")(block_forever)
    with Simulation(app, limits=Limits(block=0.3, stuck=60)), pytest.raises(Exception, match="w1/1") as caught:
        task.delay().get()
    assert type(caught.value).__module__ == "tasksim.errors"


def test_the_blocked_process_never_runs_again_and_the_others_do() -> None:
    app = make_app()
    seen: list[str] = []

    @app.task(shared=False, name="block")
    def block() -> None:
        try:
            compute_forever()
        finally:
            seen.append("finally")

    @app.task(shared=False, name="quick")
    def quick() -> str:
        return "done"

    with Simulation(app, concurrency=2, limits=Limits(block=0.3)) as sim:
        with pytest.raises(BlockedForReal):
            block.delay().get()
        assert quick.delay().get() == "done"
        sim.advance(10)
    assert seen == []


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Python's own handler, which is missing where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


#: Inside a simulation the module's own is the simulated process'.
REAL = [signal.raise_signal]


@pytest.mark.usefixtures("keyboard")
def test_an_interrupt_from_the_keyboard_in_the_middle_of_a_task_ends_the_test() -> None:
    app = make_app()
    seen: list[str] = []

    @app.task(shared=False, name="interrupted")
    def interrupted() -> None:
        try:
            REAL[0](signal.SIGINT)
            time.sleep(10)
        finally:
            seen.append("finally")

    with Simulation(app), pytest.raises(KeyboardInterrupt):
        interrupted.delay().get()
    assert seen == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_test_that_takes_its_time_between_two_steps_is_not_blocked() -> None:
    with Simulation(make_app(), limits=Limits(block=0.1)) as sim:
        sim.advance(1)
        end = sim._world.watchdog.running and time.clock_gettime(time.CLOCK_MONOTONIC) + 0.3
        while time.clock_gettime(time.CLOCK_MONOTONIC) < end:
            pass
        sim.advance(1)
        assert sim.now == 2
