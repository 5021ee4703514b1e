"""One run of one thing, in a process of its own: `python -m benchmarks.runs NAME [KEY=NUMBER ...]`.

Each function gives a dictionary of numbers, printed as JSON. Times are real seconds, and `cpu` is processor time.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from benchmarks.share import Shares

#: Tasks that are run before anything is measured.
WARM = 200
#: Broker and results of the contrib worker and of a simulation that is compared with it.
MEMORY = "memory://", "cache+memory://"
RABBITMQ = "amqp://", "cache+memory://"

#: Pool processes of the simulated worker: Celery's default on a machine with so many processors. The contrib worker
#: runs its tasks in one thread; it has no pool whose size could be set.
PROCESSES = 8

Numbers = dict[str, float]

_running: list[contextlib.AbstractContextManager[Any]] = []


def real_time() -> float:
    """Real seconds, inside of a simulation too."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) / 1e9


def make_app(broker: str, backend: str, **settings: Any) -> Celery:
    """An app with a small task and one that fails three times."""
    app = Celery("bench", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True, **settings)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="flaky", bind=True, autoretry_for=(OSError,), max_retries=3, retry_backoff=1, retry_jitter=False)
    def flaky(self: Any) -> int:
        if self.request.retries < 3:
            raise OSError("not yet")
        return self.request.retries

    return app


def _publish_to_result(app: Celery, count: int) -> Numbers:
    began, cpu = real_time(), time.process_time()
    results = [app.tasks["add"].delay(number, 1) for number in range(count)]
    for number, result in enumerate(results):
        assert result.get(timeout=300) == number + 1
    return {"seconds": real_time() - began, "cpu": time.process_time() - cpu}


# --- throughput


def _simulated(broker: str, backend: str, tasks: int, **options: Any) -> Numbers:
    from tasksim import Simulation

    app = make_app(broker, backend)
    with Simulation(app, **options):
        _publish_to_result(app, WARM)
        return _publish_to_result(app, tasks)


def _contrib(broker: str, backend: str, tasks: int) -> Numbers:
    app = make_app(broker, backend)
    # Never left: its stop takes seconds, and `main` ends the process.
    _running.append(start_worker(app, perform_ping_check=False))
    _running[-1].__enter__()
    _publish_to_result(app, WARM)
    return _publish_to_result(app, tasks)


def simulated(tasks: int = 3000) -> Numbers:
    """Small tasks from publish to result, RabbitMQ's rules, tracing on."""
    return _simulated(*RABBITMQ, tasks, concurrency=PROCESSES)


def contrib(tasks: int = 3000) -> Numbers:
    """The same on the worker of celery.contrib.testing, on the memory broker."""
    return _contrib(*MEMORY, tasks)


def simulated_redis(tasks: int = 3000) -> Numbers:
    """Small tasks, broker and results on a simulated Redis."""
    return _simulated("redis://localhost:6379/0", "redis://localhost:6379/1", tasks)


def contrib_redis(tasks: int = 3000) -> Numbers:
    """The same on the worker of celery.contrib.testing, with a real server."""
    with redis_server() as address:
        return _contrib(f"{address}/0", f"{address}/1", tasks)


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A real redis-server on a free port; without persistence."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = shutil.which("redis-server")
    if command is None:
        raise SystemExit("redis-server is not installed")
    process = subprocess.Popen(
        [command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        _await_port(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise SystemExit("redis-server does not answer")


def own_share(tasks: int = 3000) -> Numbers:
    """The part of the processor time that goes to tasksim itself."""
    from tasksim import Simulation

    app = make_app(*RABBITMQ)
    with Shares() as shares, Simulation(app, concurrency=PROCESSES):
        _publish_to_result(app, WARM)
        shares.samples.clear()
        _publish_to_result(app, tasks)
    others = {f"share of {name}": shares.of(name) for name, _ in shares.samples.most_common(8)}
    return {"share": shares.of("tasksim"), "samples": shares.samples.total(), **others}


# --- starting, waiting


def retry_simulated(repeats: int = 5) -> Numbers:
    """A worker starts, a task backs off for 1, 2 and 4 seconds, the worker stops. The first time does not count."""
    from tasksim import Simulation

    app = make_app(*RABBITMQ)

    def once() -> None:
        with Simulation(app):
            assert app.tasks["flaky"].delay().get(timeout=60) == 3

    return {"seconds": _after_the_first(once, repeats)}


def retry_contrib() -> Numbers:
    """The same on the worker of celery.contrib.testing, in real time."""
    app = make_app(*MEMORY)
    with start_worker(app, perform_ping_check=False, shutdown_timeout=30.0):
        app.tasks["add"].delay(1, 1).get(timeout=30)
    began = real_time()
    with start_worker(app, perform_ping_check=False, shutdown_timeout=30.0):
        assert app.tasks["flaky"].delay().get(timeout=60) == 3
    return {"seconds": real_time() - began}


def fresh_world(repeats: int = 15) -> Numbers:
    """Two workers up and down. The first time does not count."""
    from tasksim import Simulation

    app = make_app(*RABBITMQ)

    def once() -> None:
        with Simulation(app, workers=2) as sim:
            assert len(sim.workers) == 2

    return {"ms": _after_the_first(once, repeats) * 1000}


def beat(hours: int = 720) -> Numbers:
    """Beat sends a task each minute, and nobody takes it; processor seconds, as for 30 days."""
    from celery.schedules import crontab

    from tasksim import Simulation

    app = make_app(*RABBITMQ)
    app.conf.beat_schedule = {"minutely": {"task": "add", "schedule": crontab(), "args": (1, 2)}}
    with Simulation(app, workers=0, beat=True) as sim:
        sim.run(until=1)
        began = time.process_time()
        sim.run(until=hours * 3600)
        return {"seconds": (time.process_time() - began) * 720 / hours}


def _after_the_first(once: Callable[[], None], repeats: int) -> float:
    once()
    times = []
    for _ in range(repeats):
        gc.collect()  # what the last world left behind is no part of this one
        began = real_time()
        once()
        times.append(real_time() - began)
    return statistics.median(times)


# --- growth


def queued(tasks: int = 1000) -> Numbers:
    """All tasks are published before the first one runs; results ignored."""
    return _backlog(tasks)


def eta(tasks: int = 1000) -> Numbers:
    """All tasks have an ETA and wait in the worker."""
    return _backlog(tasks, countdown=600)


def _backlog(tasks: int, **options: Any) -> Numbers:
    """Processor time for each task; nothing here waits for real, so on an idle machine it is the time on the wall."""
    from tasksim import Simulation
    from tasksim.events import Finished

    app = make_app(*RABBITMQ, task_ignore_result=True)
    with Simulation(app) as sim:
        _run_all(app, sim, WARM, {})
        began = time.process_time()
        _run_all(app, sim, tasks, options)
        seconds = time.process_time() - began
        assert len(sim.trace.where(Finished)) == WARM + tasks
    return {"per_task": seconds / tasks}


def _run_all(app: Celery, sim: Any, count: int, options: dict[str, Any]) -> None:
    for number in range(count):
        app.tasks["add"].apply_async((number, 1), **options)
    sim.run()


# --- what is left behind, what the plugin costs


def leaked(repeats: int = 60) -> Numbers:
    """How much larger the process is after each further simulation of two workers that do some work."""
    from tasksim import Simulation

    app = make_app(*RABBITMQ)

    def once() -> None:
        with Simulation(app, workers=2):
            _publish_to_result(app, 10)

    for _ in range(10):
        once()
    gc.collect()
    before = _resident_kib()
    for _ in range(repeats):
        once()
    gc.collect()
    return {"kib": (_resident_kib() - before) / repeats}


def _resident_kib() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


def plugin(pairs: int = 15) -> Numbers:
    """An empty run of pytest with the plugin less one without it, in processor time: the median of alternating pairs.

    As pytest finds it, by its entry point, and with compiled bytecode, as pip leaves it. No other installed plugin is
    loaded: theirs take a second or two, whose noise would hide a few milliseconds.
    """
    others = [f"no:{entry.name}" for entry in entry_points(group="pytest11") if entry.name != "tasksim"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as bytecode:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [word for name in others for word in ("-p", name)]
        environment = {
            **os.environ, "PYTHONPATH": os.getcwd(), "PYTEST_ADDOPTS": "", "PYTHONPYCACHEPREFIX": bytecode,
            "PYTHONDONTWRITEBYTECODE": "",
        }  # fmt: skip
        environment.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)

        def run(*options: str) -> float:
            before = _children_seconds()
            result = subprocess.run(
                [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, result.stdout + result.stderr
            return _children_seconds() - before

        run()  # the first one compiles
        differences = [run() - run("-p", "no:tasksim") for _ in range(pairs)]
    return {"ms": statistics.median(differences) * 1000}


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


RUNS: dict[str, Callable[..., Numbers]] = {
    function.__name__: function
    for function in (
        simulated, contrib, simulated_redis, contrib_redis, own_share, retry_simulated, retry_contrib, fresh_world,
        beat, queued, eta, leaked, plugin,
    )
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run one and print its numbers."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("celery").setLevel(logging.CRITICAL)
    name, *options = arguments
    parsed = {key: int(value) for key, _, value in (option.partition("=") for option in options)}
    print(json.dumps(RUNS[name](**parsed)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
