"""The conformance programs on the simulation: a `ctl` of the same interface, and the comparison with a recording.

Nothing here knows a program by name. A folder of programs brings its own `base`, `probe`, `record` and `compare` in its
parent folder; where they are missing, the copies beside this file serve.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import celery
import celery.exceptions
from celery import _state

from tasksim.errors import Stuck
from tasksim.simulation import Simulation

HERE = Path(__file__).resolve().parent
#: "5.7", of the Celery that is installed.
RELEASE = ".".join(celery.__version__.split(".")[:2])
#: Seconds from start_worker or start_beat until the program boots (the README of the corpus, "Boot").
BOOT = 2.0
#: Seconds between two looks of `wait`; a worker that was just found ready has opened its connections by then.
LOOK = 0.01
SHARED = ("compare", "probe", "base", "record", "real_ctl")
#: Broker and result store are two servers, so that connections to one can be cut alone.
URLS = {"redis": "redis://127.0.0.1:6379/1", "amqp": "amqp://guest:guest@127.0.0.1:5672/conf"}
BACKEND = "redis://127.0.0.1:6380/2"


@dataclass
class Corpus:
    """A folder of programs and a folder of recordings, with the modules they share."""

    programs: Path
    recordings: Path
    modules: dict[str, ModuleType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parent = self.programs.resolve().parent
        own = parent if (parent / "probe.py").exists() and (parent / "base.py").exists() else HERE
        for name in SHARED:
            path = own / f"{name}.py"
            self.modules[name] = _load(name, path if path.exists() else HERE / f"{name}.py")

    def cases(self, only: str | None = None) -> list[tuple[str, str]]:
        """Each program with each broker that it has a recording for."""
        found = []
        for path in sorted(self.programs.glob("*.py")):
            for broker in ("redis", "amqp"):
                if only in (None, path.stem) and (self.recordings / f"{path.stem}.{broker}.json").exists():
                    found.append((path.stem, broker))  # noqa: PERF401
        return found

    def recording(self, name: str, broker: str) -> dict[str, Any]:
        """What the real system did: with the installed release of Celery, where that was recorded apart."""
        file = f"{name}.{broker}.json"
        own = self.recordings / f"celery-{RELEASE}" / file
        return json.loads((own if own.exists() else self.recordings / file).read_text(encoding="utf-8"))

    def run(self, name: str, broker: str, seed: int = 0) -> Run:
        """Replay one program in the simulation."""
        return Run(self, name, broker, seed)

    def differences(self, name: str, broker: str, seed: int = 0) -> list[str]:
        """Replay one program and compare."""
        try:
            run = self.run(name, broker, seed)
        except Exception as exc:
            return [f"the run failed: {type(exc).__name__}: {exc}"]
        return self.compare(name, broker, run)

    def compare(self, name: str, broker: str, run: Run) -> list[str]:
        """A replay against its recording."""
        if run.gave_up is not None:
            return [f"the run failed: TimeoutError: {run.gave_up}"]
        return self.modules["compare"].compare(self.recording(name, broker), run.canonical)


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Run:
    """One program, run once.

    Attributes:
        canonical: the run in the form of a recording.
        digest: of the whole trace.
        gave_up: what the program waited for in vain, as the error that ended it says.
    """

    gave_up: str | None = None

    def __init__(self, corpus: Corpus, name: str, broker: str, seed: int) -> None:
        self.program = _load(name, corpus.programs / f"{name}.py")
        self.modules, self.broker_url = corpus.modules, URLS[broker]
        server = str(corpus.recording(name, broker).get("server", ""))
        version = re.search(r"(\d+\.\d+)", server)
        versions = {"rabbitmq" if broker == "amqp" else "redis": version.group(1)} if version else {}
        # As in an interpreter of its own: what other programs, or other tests, share with every app is not there.
        finalizers = set(_state._on_app_finalizers)
        _state._on_app_finalizers.intersection_update(
            {one for one in finalizers if one.__module__ == "celery.app.builtins"}
        )
        try:
            self.app = self.make_app()
            with Simulation(self.app, workers=0, seed=seed, **versions) as sim:
                raw = self._drive(sim, broker)
                self.digest = sim.trace.digest()
                self.trace = sim.trace
        finally:
            self.modules["base"].disconnect_all()
            _state._on_app_finalizers.clear()
            _state._on_app_finalizers.update(finalizers)
        self.canonical = self.modules["record"].canonical(json.loads(json.dumps(raw, default=repr)))

    def make_app(self, **over: Any) -> Any:
        """The program's app."""
        return self.program.make_app(self.broker_url, BACKEND, **over)

    def _drive(self, sim: Simulation, broker: str) -> dict[str, Any]:
        control = SimulatedCtl(self, sim)
        probe = self.modules["probe"]
        probe.log = control.log
        try:
            self.program.drive(self.app, control)
        except (TimeoutError, celery.exceptions.TimeoutError) as exc:
            self.gave_up = str(exc)
        raw: dict[str, Any] = {"ended": time.time()}
        describe = self.modules["real_ctl"].describe
        raw["results"] = {name: describe(result) for name, result in control.results.items()}
        raw["left"] = _left_on_redis() if broker == "redis" else _left_on_amqp(sim)
        raw["notes"], raw["events"] = control.notes, control.events
        return raw


def _left_on_redis() -> dict[str, Any]:
    import redis

    client = redis.Redis(port=6379, db=1)
    left = {}
    for key in client.scan_iter("*"):
        if client.type(key) == b"list":
            left[key.decode().replace("\x06\x16", "~")] = client.llen(key)
    return {"ready": {name: count for name, count in sorted(left.items()) if count}, "unacked": client.hlen("unacked")}


def _left_on_amqp(sim: Simulation) -> dict[str, Any]:
    rows = [
        row for name, row in sorted(sim.queues.items())
        if not row.exclusive and "pidbox" not in name and "celeryev" not in name
    ]  # fmt: skip
    return {"ready": {row.name: row.ready for row in rows if row.ready}, "unacked": sum(row.unacked for row in rows)}


class SimulatedCtl:
    """The control interface of the corpus, in virtual time."""

    def __init__(self, run: Run, sim: Simulation) -> None:
        self._run, self._sim = run, sim
        self.results: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []

    # --- events

    def identity(self) -> tuple[str | None, str, int]:
        """Who logs: worker, where, pid."""
        process = self._sim.current_process
        if process.name == "client":
            return None, "driver", process.pid
        if process.name == "beat":
            return "beat", "beat", process.pid
        worker, slash, _ = process.name.partition("/")
        return worker, "child" if slash else "main", process.pid

    def log(self, event: str, **data: Any) -> None:
        """As probe.log, into memory."""
        from celery import current_task

        worker, where, pid = self.identity()
        entry = {"t": time.time(), "pid": pid, "worker": worker, "where": where, "event": event}
        request = current_task.request if current_task else None
        if request is not None and request.id and where == "child":
            redelivered = (request.delivery_info or {}).get("redelivered")
            entry.update(id=request.id, task=current_task.name, retries=request.retries, redelivered=bool(redelivered))
        entry.update(data)
        self.events.append(json.loads(json.dumps(entry, default=repr)))

    def _found(self, event: str, match: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            one for one in self.events
            if one["event"] == event and all(one.get(key) == value for key, value in match.items())
        ]  # fmt: skip

    def wait(self, event: str, count: int = 1, timeout: float = 20, **match: Any) -> list[dict[str, Any]]:
        """Wait until so many events were logged; all of them."""
        seen = [-1, False]

        def enough() -> bool:
            if seen[0] != len(self.events):
                seen[:] = [len(self.events), len(self._found(event, match)) >= count]
            return bool(seen[1])

        if enough():
            return self._found(event, match)
        try:
            self._sim.run_until(enough, limit=timeout)
        except Stuck as exc:
            found = len(self._found(event, match))
            raise TimeoutError(f"{found} of {count} {event} {match} after {timeout} s") from exc
        time.sleep(LOOK)
        return self._found(event, match)

    def sleep(self, seconds: float) -> None:
        """time.sleep."""
        time.sleep(seconds)

    def result(self, name: str, async_result: Any) -> None:
        """Remember a result."""
        self.results[name] = async_result

    def note(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.notes[key] = value

    # --- workers

    def start_worker(
        self, name: str, concurrency: int = 1, prefetch_multiplier: int = 1, queues: Any = None, conf: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        """Start a worker and return when it is ready."""
        seen = len(self._found("worker_ready", {"worker": name}))
        self.log("ctl", do="start_worker", target=name)

        def make() -> Any:
            app = self._run.make_app(**(conf or {}))
            time.sleep(BOOT)
            self.log("worker_boot")
            return app

        self._sim.start_worker(
            name, hostname=f"{name}@conf", app=make, concurrency=concurrency,
            prefetch_multiplier=prefetch_multiplier, queues=queues, **options,
        )  # fmt: skip
        self.wait("worker_ready", count=seen + 1, worker=name, timeout=30)

    def kill_worker(self, name: str) -> None:
        """SIGKILL to all its processes."""
        self.log("ctl", do="kill_worker", target=name)
        self._sim.kill(worker=name)

    def kill_pool_process(self, task_id: str) -> None:
        """SIGKILL to the process of the last start of this task."""
        starts = self._found("start", {"id": task_id})
        self.log("ctl", do="kill_pool_process", target=task_id)
        import os

        os.kill(starts[-1]["pid"], signal.SIGKILL)

    def term_worker(self, name: str) -> None:
        """SIGTERM to the main process."""
        self.log("ctl", do="term_worker", target=name)
        self._sim.stop(worker=name, how="warm")

    def quit_worker(self, name: str) -> None:
        """SIGQUIT to the main process."""
        self.log("ctl", do="quit_worker", target=name)
        self._sim.stop(worker=name, how="cold")

    def join_worker(self, name: str, timeout: float = 20) -> None:
        """Wait for the main process to end."""
        handle = self._sim.workers[name]
        self._sim.run_until(lambda: handle.state == "down", limit=timeout)
        self.log("worker_exit", target=name, exitcode=handle.exitcode)

    def drop_connections(self, name: str) -> None:
        """The broker closes the worker's connections."""
        self.log("ctl", do="drop_connections", target=name)
        self._sim.cut(worker=name, server="broker")

    # --- beat

    def start_beat(self) -> None:
        """Start beat; return when its start-up begins."""
        seen = len(self._found("beat_boot", {}))
        self.log("ctl", do="start_beat", target="beat")

        def make() -> Any:
            app = self._run.make_app()
            time.sleep(BOOT)
            self.log("beat_boot")
            return app

        self._sim.start_beat(app=make)
        self.wait("beat_boot", count=seen + 1, timeout=30)

    def stop_beat(self) -> None:
        """SIGTERM to beat, and wait for its end."""
        self.log("ctl", do="stop_beat", target="beat")
        exitcode = self._sim.stop_beat()
        self.log("beat_exit", target="beat", exitcode=exitcode)
