"""Real servers for a test: started on a free port in a temporary folder, stopped at its end. None that runs is touched.

A redis-server and a rabbitmq-server must be installed. Where one is not, its tests are skipped with that reason, and
fail instead if the environment has TASKSIM_REAL_SERVERS=1, as on CI.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import amqp
import pytest
import redis

#: RabbitMQ's own start script; the one in /usr/sbin would change to the service's user and folders.
RABBITMQ = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), *Path("/opt").glob("rabbitmq*/sbin/rabbitmq-server"))
#: Seconds that a server may take to start.
PATIENCE = 120.0


def demanded() -> bool:
    """A missing server is a failure, not a reason to skip."""
    return os.environ.get("TASKSIM_REAL_SERVERS") == "1"


def missing(server: str) -> None:
    """There is no such server here: skip the test, or fail it."""
    reason = f"no {server} is installed; the model is not compared with a real one"
    if demanded():
        pytest.fail(reason)
    pytest.skip(reason)


def find_rabbitmq() -> str | None:
    """The start script, if there is one."""
    return next((str(path) for path in RABBITMQ if path.exists()), None)


def find_redis() -> str | None:
    """The program, if there is one."""
    return shutil.which("redis-server")


def _memory() -> str | None:
    """A folder in memory: RabbitMQ writes each durable queue to disk, which takes ten times as long."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (OSError, amqp.AMQPError, redis.RedisError):
        return False
    return True


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path, environment: Mapping[str, str], ask: Callable[[], object]
) -> Iterator[Any]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not _answers(ask):
                if process.poll() is not None or time.monotonic() > deadline:
                    text = (folder / "output").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{command[0]} does not start: {text}")
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def redis_server() -> Iterator[int]:
    """A redis-server; gives its port."""
    program = find_redis()
    if program is None:
        missing("redis-server")
    with tempfile.TemporaryDirectory(prefix="tasksim-redis-") as folder:
        port = _free_port()
        command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

        def ask() -> None:
            with redis.Redis(port=port) as client:
                client.ping()

        with _running([*command, "--dir", folder], Path(folder), {}, ask):
            yield port


def restarted_redis(
    folder: Path, cases: Mapping[str, tuple[Mapping[str, str], str]], pause: float
) -> dict[str, list[bytes]]:
    """The keys of redis-servers that were stopped or killed after two writes, and started again in their folders.

    Args:
        folder: they have folders in it.
        cases: by name the settings, and "stop" or "kill".
        pause: seconds between the writes.
    """
    program = find_redis()
    if program is None:
        missing("redis-server")
    commands, clients = {}, {}
    for number, (name, (config, _)) in enumerate(cases.items()):
        port, own = _free_port(), folder / str(number)
        own.mkdir()
        settings = [word for setting, value in config.items() for word in (f"--{setting}", value)]
        commands[name] = [str(program), "--port", str(port), "--bind", "127.0.0.1", *settings, "--dir", str(own)]
        clients[name] = redis.Redis(port=port)
    with contextlib.ExitStack() as stack:
        processes = {}
        for name, command in commands.items():
            stack.callback(clients[name].close)
            processes[name] = stack.enter_context(_running(command, Path(command[-1]), {}, clients[name].ping))
        for client in clients.values():
            client.lpush("first", "1")
        time.sleep(pause)
        for name, client in clients.items():
            client.lpush("last", "1")
            if cases[name][1] == "kill":
                processes[name].kill()
            else:
                processes[name].terminate()
            processes[name].wait(20)
        for name, command in commands.items():
            stack.enter_context(_running(command, Path(command[-1]), {}, clients[name].ping))
        return {name: sorted(client.keys()) for name, client in clients.items()}


@contextlib.contextmanager
def rabbitmq_server() -> Iterator[str]:
    """A rabbitmq-server; gives its "host:port"."""
    program = find_rabbitmq()
    if program is None:
        missing("rabbitmq-server")
    # Short: a node's folders are part of paths that Erlang limits.
    with tempfile.TemporaryDirectory(prefix="rmq-", dir=_memory(), ignore_cleanup_errors=True) as name:
        folder, port, epmd = Path(name), _free_port(), _free_port()
        address = f"127.0.0.1:{port}"
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {address}\ndisk_free_limit.absolute = 1MB\nvm_memory_high_watermark.relative = 0.8\n"
        )
        environment = {
            "HOME": name,
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"tasksim{port}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }

        def ask() -> None:
            with amqp.Connection(address, connect_timeout=2) as connection:
                connection.connect()

        try:
            with _running([str(program)], folder, environment, ask):
                yield address
        finally:
            epmd_program = shutil.which("epmd")
            if epmd_program is not None:
                subprocess.run(
                    [epmd_program, "-port", str(epmd), "-kill"], check=False, capture_output=True, timeout=10
                )
