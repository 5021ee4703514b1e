"""From a tree of nodes to a `Scenario`: which keys there are and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasksim.driving.server_faults import ENDS
from tasksim.errors import UsageError
from tasksim.network.redis_config import POLICIES, read_settings
from tasksim.scenario.coherence import check_coherence
from tasksim.scenario.expectations import event_and_fields, expectation
from tasksim.scenario.node import (
    Node,
    Reader,
    data,
    duration,
    flag,
    instant,
    is_dotted,
    items,
    listing,
    mapping,
    one_of,
    record,
    text,
    version_text,
    whole,
)
from tasksim.scenario.schema import (
    VERSION,
    Call,
    Fault,
    Pattern,
    Scenario,
    Setup,
    Worker,
)

__all__ = ["read_scenario"]


def read_scenario(node: Node) -> Scenario:
    """The scenario that stands at the root of a file."""
    if not isinstance(node.value, dict):
        node.fail_type("a mapping that begins with `version: 1`")
    version = node.value.get("version")
    if version is None:
        node.fail(f"the scenario needs `version: {VERSION}`")
    if isinstance(version.value, str):
        version.fail(f"`version` must be a number, not text: write `version: {VERSION}`, without quotes")
    if version.value != VERSION:
        version.fail(f"version {version.source} is not known; this release reads version {VERSION}")
    read = record(node, SCENARIO, required=("version", "app"))
    lines = {key: value.line for key, value in node.value.items()}
    scenario = Scenario(**read, file=node.file, lines=lines)
    check_coherence(scenario)
    return scenario


# --- one reader for each part


def _app(node: Node) -> str:
    module, colon, attribute = text(node).partition(":")
    if not (colon and all(module.split(".")) and attribute):
        node.fail(f'{node.name} must be "package.module:attribute", not {node.shown()}')
    return f"{module}:{attribute}"


def _queues(node: Node) -> tuple[str, ...]:
    if isinstance(node.value, str):
        return tuple(name.strip() for name in text(node).split(","))
    return tuple(text(item) for item in items(node))


def _worker_options(node: Node) -> dict[str, Any]:
    options = mapping(node)
    for key in options:
        if key in (*WORKER, "conf", "app", "at", "wait"):
            node.value[key].fail(f"`{key}` is not an option here; the keys of a worker are: {', '.join(WORKER)}")
    return options


def _redis_config(node: Node) -> dict[str, Any]:
    config = mapping(node)
    for key, value in config.items():
        try:
            read_settings({key: value})
        except UsageError as error:
            node.value[key].fail(str(error))
    return config


def _workers(node: Node) -> tuple[Worker, ...]:
    if isinstance(node.value, dict):
        workers = []
        for key, value in node.value.items():
            name = text(Node(key, value.line, value.file, "a worker's name", str(key)))
            keys = {} if value.value is None else record(value, WORKER)
            workers.append(Worker(name, **keys, line=value.line))
        return tuple(workers)
    if isinstance(node.value, list):
        names = [text(item) for item in node.value]
        for place, name in enumerate(names):
            if name in names[:place]:
                node.value[place].fail(f"worker `{name}` is given twice")
        return tuple(Worker(name, line=item.line) for name, item in zip(names, node.value, strict=True))
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return tuple(Worker(f"w{number}", line=node.line) for number in range(1, whole()(node) + 1))
    node.fail_type("a number, a list of names, or a mapping of names to options")


def _call(node: Node) -> Call:
    call = Call(**record(node, CALL, required=("task",)), line=node.line)
    if "every" in node.value and "repeat" not in node.value:
        node.value["every"].fail("`every` needs `repeat`: how often to call")
    return call


def _setup(node: Node) -> Setup:
    if isinstance(node.value, dict):
        setup = Setup(**record(node, SETUP, required=("call",)), line=node.line)
    else:
        setup = Setup(text(node), line=node.line)
    if not is_dotted(setup.call):
        node.fail(f"{node.name} must be a dotted name (module.function), not `{setup.call}`")
    return setup


def _pattern(node: Node) -> Pattern:
    event, rest = event_and_fields(node, ("nth",))
    nth = whole(1)(node.value["nth"]) if "nth" in node.value else 1
    return Pattern(event, nth, rest)


def _target(*allowed: str) -> Reader:
    """Whom a fault hits: the name of a worker, or a mapping with one of the keys `allowed`, and its options."""

    def read(node: Node) -> dict[str, Any]:
        if isinstance(node.value, str):
            return {"worker": text(node)}
        options = record(node, {key: TARGETS[key] for key in allowed})
        given = [key for key in options if key not in ("how", "seconds", "down")]
        if len(given) != 1:
            choice = " or ".join(f"`{key}`" for key in allowed if key not in ("how",))
            node.fail(f"{node.name} needs a target: {choice}")
        return options

    return read


def _amount(key: str | None, reader: Reader = duration, required: bool = False, **others: Reader) -> Reader:
    """A fault of a server: nothing, an amount, or a mapping with the amount and more; without `key` no amount."""
    keys = {**({} if key is None else {key: reader}), **others, "server": text}

    def read(node: Node) -> dict[str, Any]:
        if isinstance(node.value, dict):
            return record(node, keys, required=(str(key),) if required else ())
        if key is None or ((node.value is None or node.value is True) and not required):
            if node.value is not None and node.value is not True:
                node.fail_type("nothing, or a mapping")
            return {}
        return {key: reader(node)}

    return read


def _fault(node: Node) -> Fault:
    read = record(node, {**FAULTS, "at": duration, "when": _pattern})
    kinds = [key for key in read if key in FAULTS]
    if len(kinds) != 1:
        node.fail(f"{node.name} needs exactly one of: {', '.join(FAULTS)}")
    at, when = read.get("at"), read.get("when")
    if (at is None) == (when is None):
        node.fail(f"{node.name} needs `at` (seconds) or `when` (an event), and not both")
    return Fault(kinds[0], read[kinds[0]], at, when, node.line)


# --- the keys


WORKER: Mapping[str, Reader] = {
    "concurrency": whole(1),
    "queues": _queues,
    "settings": mapping,
    "start": duration,
    "options": _worker_options,
}

CALL: Mapping[str, Reader] = {
    "task": text,
    "args": listing(data),
    "kwargs": mapping,
    "id": text,
    "at": duration,
    "countdown": duration,
    "expires": duration,
    "queue": text,
    "priority": whole(),
    "repeat": whole(1),
    "every": duration,
}

SETUP: Mapping[str, Reader] = {"call": text, "args": listing(data), "kwargs": mapping}

TARGETS: Mapping[str, Reader] = {"worker": text, "task": text, "client": flag, "how": one_of("warm", "cold")}

FAULTS: Mapping[str, Reader] = {
    "kill": _target("worker", "task"),
    "stop": _target("worker", "how"),
    "cut": _target("worker", "client"),
    "freeze": _target("worker", "client"),
    "thaw": _target("worker", "client"),
    "refuse": _amount("seconds"),
    "accept": _amount(None),
    "alarm": _amount("seconds", reason=text),
    "clear_alarm": _amount(None),
    "evict": _amount("keys", whole(1), policy=one_of(*POLICIES)),
    "slow": _amount("delay", required=True, seconds=duration),
    "restart_broker": _amount("down", how=one_of(*ENDS), lost=duration),
    "stop_replication": _amount(None),
    "failover": _amount("lost", down=duration, back=duration),
}

SCENARIO: Mapping[str, Reader] = {
    "version": whole(),
    "title": text,
    "description": text,
    "app": _app,
    "seed": whole(None),
    "start": instant,
    "broker": text,
    "backend": text,
    "rabbitmq": version_text("4.1"),
    "redis": version_text("7.2"),
    "redis_config": _redis_config,
    "settings": mapping,
    "workers": _workers,
    "beat": flag,
    "setup": listing(_setup),
    "calls": listing(_call),
    "faults": listing(_fault),
    "until": duration,
    "expect": listing(expectation),
}
