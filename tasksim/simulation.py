"""The simulation, as a test drives it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from tasksim.check import Finding, check_trace
from tasksim.driving.arguments import check_concurrency, entries, instant, is_number, mapping, process_names
from tasksim.driving.faults import Faults
from tasksim.driving.patterns import Patterns
from tasksim.driving.processes import Processes
from tasksim.driving.publishing import Publishing
from tasksim.errors import UsageError
from tasksim.idle import Progress
from tasksim.limits import Limits
from tasksim.opened import watchers
from tasksim.report.failure import Facts
from tasksim.rules import Rules
from tasksim.worker.memory import Curve
from tasksim.worker.settings import REDIS, broker_rules, check_pool, plain_names
from tasksim.world import LEAD_NS, World

#: "broker": a call publishes and returns. "eager": a call of the test's own returns when what it called has ended.
MODES = ("broker", "eager")
#: How much later each declared worker starts than the one before it.
STAGGER_NS = 1_000_000

Workers = int | Iterable[str] | Mapping[str, Mapping[str, Any]]


def load_app(app: Any) -> Any:
    """The app itself, or the one at "package.module:attribute".

    Raises:
        UsageError: there is none.
    """
    if not isinstance(app, str):
        return _checked_app(app, f"app={app!r}")
    module, colon, name = app.partition(":")
    if not module or module.startswith(".") or (colon and not name):
        raise UsageError(f'app={app!r}: write "package.module:attribute", with the whole path of the module')
    try:
        found = getattr(importlib.import_module(module), name if colon else "app")
    except (ImportError, AttributeError) as exc:
        raise UsageError(f'app={app!r} cannot be had ({exc}); write "package.module:attribute"') from exc
    return _checked_app(found, f"app={app!r}: that {_kind_of(found)}, and so it")


def _kind_of(found: object) -> str:
    if isinstance(found, types.ModuleType):
        return "is a module"
    return "is a function" if callable(found) and hasattr(found, "__code__") else f"is {found!r}"


def _checked_app(app: Any, told: str) -> Any:
    if not isinstance(app, (types.ModuleType, type)) and hasattr(app, "tasks") and hasattr(app, "send_task"):
        return app
    makes = callable(app) and not isinstance(app, type)
    remedy = ", or give what it makes: Simulation(make_app())" if makes else ""
    raise UsageError(f'{told} is no Celery app; give one, or "package.module:attribute"{remedy}')


def worker_options(workers: Any) -> dict[str, dict[str, Any]]:
    """The options of each worker by its name, from all that `workers` may be.

    Raises:
        UsageError: it is something else, or a name or an option is.
    """
    if isinstance(workers, (bool, str)) or not isinstance(workers, (int, Iterable)):
        raise UsageError(f"workers={workers!r}: give a number, a list of names, or a mapping of name to options")
    if isinstance(workers, int) and workers < 0:
        raise UsageError(f"workers={workers}: give 0 or more")
    if isinstance(workers, int):
        return {f"w{number}": {} for number in range(1, workers + 1)}
    names = process_names("worker", workers, ("beat",))
    if not isinstance(workers, Mapping):
        return {name: {} for name in names}
    return {name: _options_of(name, workers[name]) for name in names}


def _options_of(name: str, given: Any) -> dict[str, Any]:
    place = f"workers[{name!r}]"
    options = mapping(place, given, '{"concurrency": 2}')
    check_concurrency(f"{place}: concurrency", options.get("concurrency"))
    if options.get("conf") is not None:
        options["conf"] = mapping(f"{place}: conf", options["conf"], '{"worker_prefetch_multiplier": 1}')
    for when in ("start", "at"):
        if options.get(when) is not None:
            options[when] = instant(f"{place}: {when}", options[when])
    return options


def _queue_names(queues: Any) -> list[str] | None:
    if queues is None:
        return None
    if not isinstance(queues, Iterable):
        queues = [queues]
    names = [name.strip() for name in queues.split(",")] if isinstance(queues, str) else list(queues)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f'queues={queues!r}: give names, as a list or as `celery worker -Q` has them: "mail,celery"')
    return names


def check_broker(broker: object) -> None:
    """Is this one URL?

    Raises:
        UsageError: it is something else.
    """
    if broker is not None and not isinstance(broker, str):
        raise UsageError(
            f"broker={broker!r}: give one URL as text. Several stand in the marker, for a test on each: "
            '@pytest.mark.tasksim(broker=["amqp://", "redis://"])'
        )


def check_arguments(seed: object, concurrency: object, versions: Mapping[str, object], limits: object) -> None:
    """Are these what they have to be?

    Raises:
        UsageError: one is not.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UsageError(f"seed={seed!r}: give a whole number")
    check_concurrency("concurrency", concurrency)
    if limits is not None:
        check_limits(limits)
    for server, version in versions.items():
        if not isinstance(version, str) or not re.fullmatch(r"\d+(\.\d+)+", version):
            raise UsageError(
                f'{server}={version!r}: give a version, such as "{"4.1" if server == "rabbitmq" else "7.2"}", as text'
            )


def check_limits(limits: object) -> None:
    """Are these `Limits`, and each of them one?

    Raises:
        UsageError: they are not.
    """
    if not isinstance(limits, Limits):
        raise UsageError(f"limits={limits!r}: give Limits(idle=..., stuck=...), from tasksim")
    for field in dataclasses.fields(limits):
        value = getattr(limits, field.name)
        if not is_number(value) or not value > 0:
            raise UsageError(f"Limits({field.name}={value!r}): give a number above 0")
        if field.name == "block" and math.isinf(value):
            raise UsageError(f"Limits(block={value!r}): give seconds, such as 3600: a real clock is looked at")


def allowed_hosts(allow: object) -> list[str]:
    """Hosts to which real connections may be made, as a list.

    Raises:
        UsageError: it is something else.
    """
    return entries("allow", allow, '["db", "db:5432"]')


def named_cells(cells: object) -> list[str]:
    """Names of cells, as a list.

    Raises:
        UsageError: they are something else.
    """
    return entries("cells", cells, '["shop.gateway.cache"]')


class Simulation(Processes, Patterns, Faults, Publishing):
    """A Celery app with its workers and servers, in this process, on a virtual clock.

    Use it as a context manager. Everything it replaces is put back at the end. The arguments are those of the page
    docs/reference/api.md; all times are seconds.

    Raises:
        UsageError: an argument that makes no sense.
        UnsupportedError: the app's broker is not simulated.
    """

    def __init__(
        self, app: Any, *, workers: Workers = 1, concurrency: int | None = None, seed: int = 0, start: Any = None,
        queues: str | Iterable[str] | None = None, broker: str | None = None, backend: str | None = None,
        rabbitmq: str = "4.1", redis: str = "7.2",
        beat: bool = False, allow: Iterable[str] | None = (), cells: Iterable[str] | None = (),
        limits: Limits | None = None,
        settings: Mapping[str, Any] | None = None, mode: str = "broker", memory: Curve | None = None,
        redis_config: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        if mode not in MODES:
            raise UsageError(f"mode={mode!r}: there are {' and '.join(map(repr, MODES))}")
        check_broker(broker)
        check_arguments(seed, concurrency, {"rabbitmq": rabbitmq, "redis": redis}, limits)
        if memory is not None and not callable(memory):
            raise UsageError(f"memory={memory!r}: give a function, lambda child: 50_000 + 1_000 * len(child.tasks)")
        self.app = load_app(app)
        self._workers, self._concurrency, self._beat = worker_options(workers), concurrency, beat
        self._queues = _queue_names(queues)
        changed = mapping("settings", settings, '{"task_acks_late": True}')
        if broker is not None:
            changed["broker_url"] = broker
        if backend is not None:
            changed["result_backend"] = backend
        self.seed, self._changed = seed, changed
        self._versions = {"rabbitmq": rabbitmq, "redis": redis}
        self._world = World(
            self.app, seed=seed, limits=limits or Limits(), allow=allowed_hosts(allow), start=start,
            cells=named_cells(cells), settings=changed, versions=self._versions, eager=mode == "eager",
            memory_curve=memory, redis_config=mapping("redis_config", redis_config, '{"appendonly": "yes"}'),
        )  # fmt: skip

    # --- up and down

    def open(self) -> Simulation:
        """Begin, where a `with` block cannot be: in a notebook whose cells share a simulation. Then `close` it.

        Raises:
            UsageError: this one, or another one, is running.
            UnsupportedError: a worker's pool is not simulated.
        """
        if self._world.open:
            raise UsageError("this simulation is running already; make another one")
        changed = self._changed = plain_names(self.app, self._changed)
        for name, options in self._workers.items():
            check_pool(name, self.app, {**changed, **plain_names(self.app, options.get("conf") or {})}, options)
        self._world.set_up(self._begin)
        self._kernel, self._trace = self._world.kernel, self._world.trace
        self._progress = Progress(self._world)
        self._awaited, self._generations, self._coming = {}, {}, set()
        self._kept, self._publications, self._forgotten = self._world.kept, None, 0
        if self._world.ends is not None:
            self._world.ends.wait = self._wait_for_ends
        for watcher in list(watchers):
            watcher(self)
        return self

    def close(self) -> None:
        """Put everything back; the trace stays. Once closed, nothing happens."""
        self._world.tear_down()

    def __enter__(self) -> Simulation:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            self._warn_of_awaited()

    def _wait_for_ends(self, task_ids: list[str]) -> None:
        """Eager mode: until these tasks have come to an end, or nothing is left that could bring one about."""
        ends, progress = self._world.ends, self._progress
        assert ends is not None
        with progress.without_end():
            self._wait(
                lambda: ends.have_come(task_ids) or (progress.is_idle() and progress._rest_lasts()), None, at_once=False
            )

    @property
    def rules(self) -> Rules:
        """Whose rules the app's broker follows."""
        server = "redis" if broker_rules(self.app, self._changed) == REDIS else "rabbitmq"
        return Rules(server, self._versions[server])

    def check(self, *names: str) -> list[Finding]:
        """What the checks (by their names; none means all) find in the trace so far; empty is good."""
        return check_trace(self.trace, *names)

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """For a tool that watches over the test: what it makes within (a thread, a lock, an alarm) is in real time."""
        try:
            with self._world.gate.left():
                yield
        finally:
            self._world.watchdog.take_alarm()

    def facts(self) -> Facts:
        """For a report: what the trace does not say. Nothing of the world moves."""
        world = self._world
        hosts = world.hosts.workers.values()
        reasons = {one.name: repr(one.error) for one in hosts if one.error is not None}
        known: dict[str, Any] = {"places": dict(world.watch.places), "now": world.now(), "reasons": reasons}
        if not world.open:
            return Facts(**known, notes=list(world.gate.refused))
        rows = world.queue_rows().values()
        own = {row.name: row.consumers for row in rows if not row.name.endswith("pidbox") and not row.exclusive}
        taken = {name for one in hosts for name in one.queue_names}
        if taken:  # others that have a consumer are a client's, or the workers' own for events
            own = {name: count for name, count in own.items() if name in taken or not count}
        tasks = sorted(self.app.tasks) if self.app is not None else ()
        notes = [*world.gate.refused, *world.databases.waiting_for_commit(), *self._progress.deadlocked()]
        return Facts(own, tasks, notes=notes, **known)

    def _begin(self) -> None:
        """The first simulated step: read the clock's start, and let the workers boot before it."""
        world = self._world
        world.set_start(LEAD_NS)
        world.clocks.reassert()
        for name, options in self._workers.items():
            self.start_worker(name, **options)
            # Each a moment after the other: whatever the seed, the first declared is the first to consume.
            self._park_until(self._kernel.now_ns + STAGGER_NS)
        if self._beat:
            self.start_beat()
        self._wait(lambda: all(one.has_begun for one in world.hosts.workers.values()), None)
        for name in world.hosts.workers:
            self._complain_if_dead(name)
        for name in world.hosts.beats:
            self._complain_if_beat_is_dead(name)
        if self._kernel.now_ns < LEAD_NS:
            self._kernel.park(LEAD_NS, "the start")
