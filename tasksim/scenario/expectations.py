"""From a tree of nodes to what a scenario expects, and to the events that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasksim.check import CHECKS, INCIDENTS
from tasksim.events import FIELDS
from tasksim.scenario.node import (
    Node,
    Reader,
    data,
    did_you_mean,
    duration,
    is_dotted,
    listing,
    one_of,
    record,
    text,
    whole,
)
from tasksim.scenario.schema import (
    CheckExpectation,
    EventExpectation,
    Expectation,
    QueueExpectation,
    TaskExpectation,
    ValueExpectation,
)

__all__ = ["EXPECTATIONS", "TASK_EXPECTATION", "event_and_fields", "expectation"]


def event_and_fields(node: Node, others: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The event's name and the values of its fields, of a mapping that may also have the keys `others`."""
    if not isinstance(node.value, dict) or "event" not in node.value:
        node.fail(f"{node.name} needs `event`: the name of an event")
    named = node.value["event"]
    event = text(named)
    if event not in FIELDS:
        named.fail(f"there is no event `{event}`{did_you_mean(event, FIELDS)}")
    known = {*FIELDS[event], "worker"}
    fields = {}
    for key, value in node.value.items():
        if key in ("event", *others):
            continue
        if key not in known:
            value.fail(f"`{event}` has no field `{key}`{did_you_mean(key, known)}")
        fields[key] = data(value)
    return event, fields


def expectation(node: Node) -> Expectation:
    """One item of `expect`."""
    if isinstance(node.value, dict):
        for key, reader in EXPECTATIONS.items():
            if key in node.value:
                found: Expectation = reader(node)
                return found
    node.fail(f"{node.name} needs one of: {', '.join(f'`{key}`' for key in EXPECTATIONS)}")


def _expect_task(node: Node) -> TaskExpectation:
    read = record(node, TASK_EXPECTATION, required=("task",))
    if len(read) == 1:
        node.fail(f"{node.name} says nothing of the task; there are: {', '.join(list(TASK_EXPECTATION)[1:])}")
    return TaskExpectation(**read, has_result="result" in read, line=node.line)


def _expect_event(node: Node) -> EventExpectation:
    event, fields = event_and_fields(node, ("count",))
    count = whole()(node.value["count"]) if "count" in node.value else None
    return EventExpectation(event, fields, count, node.line)


def _expect_queue(node: Node) -> QueueExpectation:
    read = record(node, {"queue": text, "ready": whole(), "unacked": whole()}, required=("queue",))
    if len(read) == 1:
        node.fail(f"{node.name} needs `ready` or `unacked`")
    return QueueExpectation(**read, line=node.line)


def _expect_value(node: Node) -> ValueExpectation:
    read = record(node, {"value": text, "equals": data}, required=("value", "equals"))
    if not is_dotted(read["value"]):
        node.value["value"].fail(f"`value` must be a dotted name (module.attribute), not `{read['value']}`")
    return ValueExpectation(**read, line=node.line)


def _checks(node: Node) -> tuple[str, ...]:
    names = [text(item) for item in node.value] if isinstance(node.value, list) else [text(node)]
    if names == ["all"]:
        return tuple(CHECKS)
    if not names:
        node.fail(f"{node.name} names none; write `check: all`, or some of: {', '.join(CHECKS)}")
    for name in names:
        if name == "all":
            node.fail("`all` stands alone, for it means every check; write `check: all`, or name the checks without it")
        if name not in CHECKS:
            node.fail(f"there is no check `{name}`{did_you_mean(name, ('all', *CHECKS))}")
    return tuple(names)


def _expect_check(node: Node) -> CheckExpectation:
    read = record(node, {"check": _checks, "incident": one_of(*INCIDENTS)}, required=("check",))
    return CheckExpectation(read["check"], read.get("incident"), node.line)


TASK_EXPECTATION: Mapping[str, Reader] = {
    "task": text,
    "state": text,
    "starts": whole(),
    "attempts": listing(text),
    "start_times": listing(duration),
    "result": data,
}

EXPECTATIONS: Mapping[str, Reader] = {
    "event": _expect_event,  # first: an event may have the fields `task` and `queue`
    "task": _expect_task,
    "queue": _expect_queue,
    "value": _expect_value,
    "check": _expect_check,
}
