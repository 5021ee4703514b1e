"""Which operations and rules occurred in a case, as the model's events and the clients' answers show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasksim.events import DeadLettered, Dropped, Event, MessageExpired, Redelivered, Requeued, Returned
from tests.differential.amqp_arms import Step
from tests.differential.cases import Case

__all__ = ["AMQP_MARKS", "amqp_marks"]

#: Arguments of queues that occur, and the codes of refusals.
_ARGUMENTS = (
    "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-expires", "x-max-length", "x-max-length-bytes",
    "x-max-priority", "x-message-ttl", "x-overflow", "x-queue-type", "x-single-active-consumer",
)  # fmt: skip
_KINDS = (
    "ack", "bind", "bind exchange", "cancel", "close channel", "close connection", "confirms", "consume",
    "declare exchange", "declare queue", "delete exchange", "delete queue", "get", "nack", "passive", "publish",
    "purge", "qos", "recover", "reject", "unbind",
)  # fmt: skip
_RULES = (
    "alternate exchange", "basic.cancel by the server", "confirm: ack", "confirm: nack", "consumer priority",
    "dead letter: expired", "dead letter: maxlen", "dead letter: rejected", "direct exchange", "dropped: maxlen",
    "error 403", "error 404", "error 405", "error 406", "exclusive consumer", "exclusive queue", "expired",
    "fanout exchange", "headers exchange", "lease ended", "limit over a channel", "limit over a consumer", "priority",
    "redelivered", "requeued: channel closed", "requeued: connection closed", "requeued: recovered",
    "requeued: rejected", "returned", "topic exchange",
)  # fmt: skip
#: All that must occur.
AMQP_MARKS = (*_KINDS, *_ARGUMENTS, *_RULES)


def amqp_marks(case: Case, steps: list[Step], events: Iterable[Event]) -> set[str]:
    """What occurred in this case."""
    marks = {one.kind for one in case.operations}
    for operation, step in zip(case.operations, steps, strict=True):
        marks.update(_of_operation(operation.kind, operation.options))
        marks.update(_of_step(step))
        if operation.kind == "declare queue" and step.queues[operation.options["queue"]] == 404:
            marks.update(["lease ended"] * ("x-expires" in operation.options["arguments"]))
    for event in events:
        marks.update(_of_event(event))
    return marks & set(AMQP_MARKS)


def _of_operation(kind: str, options: dict[str, Any]) -> set[str]:
    found = set()
    if kind == "declare queue":
        found.update(options["arguments"])
        found.update(f"{flag} queue" for flag in options["flags"])
    elif kind == "declare exchange":
        found.add(f"{options['kind']} exchange")
        if options["alternate"] is not None:
            found.add("alternate exchange")
    elif kind == "consume":
        found.update(["consumer priority"] * bool(options["priority"]) + ["exclusive consumer"] * options["exclusive"])
    elif kind == "qos" and options["count"]:
        found.add("limit over a channel" if options["together"] else "limit over a consumer")
    elif kind == "publish" and options["priority"]:
        found.add("priority")
    return found


def _of_step(step: Step) -> set[str]:
    found = set()
    if isinstance(step.answer, list) and step.answer[0] == "error":
        found.add(f"error {step.answer[1]}")
    for came in step.came.values():
        found.update(["basic.cancel by the server"] * ("cancelled" in came))
        found.update(f"confirm: {kind}" for kind, _ in came.get("confirms", ()))
    return found


def _of_event(event: Event) -> set[str]:
    match event:
        case DeadLettered(reason=reason):
            return {f"dead letter: {reason}"}
        case Dropped(reason="queue expired"):
            return {"lease ended"}
        case Dropped(reason=reason):
            return {f"dropped: {reason}"}
        case MessageExpired():
            return {"expired"}
        case Redelivered():
            return {"redelivered"}
        case Requeued(reason=reason):
            return {f"requeued: {reason}"}
        case Returned():
            return {"returned"}
    return set()
