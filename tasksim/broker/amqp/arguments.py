"""Arguments of queues: which are valid, and which must be the same when a queue is declared again."""

from __future__ import annotations

from typing import Any

from tasksim.broker.amqp.refusals import failed, inequivalent
from tasksim.errors import UnsupportedError

__all__ = ["check_arguments", "check_equivalence"]

#: Arguments of queues that must be the same when a queue is declared again (docs "queues", "Property equivalence").
_COMPARED = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-queue-type",
)
#: Arguments that are whole numbers, with the smallest that is allowed (rabbit_amqqueue:declare_args).
_NUMBERS = {
    "x-expires": 1,
    "x-message-ttl": 0,
    "x-max-length": 0,
    "x-max-length-bytes": 0,
    "x-max-priority": 0,
    "x-delivery-limit": -1,
    "x-consumer-timeout": 0,
}
_MAX_PRIORITY = 255


def check_arguments(what: str, arguments: dict[str, Any]) -> None:
    """Refuse values that no queue can have.

    Raises:
        UnsupportedError: a kind of queue that is not simulated.
    """
    kind = arguments.get("x-queue-type", "classic")
    if kind == "stream":
        raise UnsupportedError(f"{what} is a stream, which the simulation does not serve; use classic or quorum")
    if kind not in ("classic", "quorum"):
        raise failed(f"invalid arg 'x-queue-type' for {what}: \"unsupported queue type '{kind}'\"")
    for name, least in _NUMBERS.items():
        value = arguments.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise failed(f"invalid arg '{name}' for {what}: {{unacceptable_type,longstr}}")
        if value < least or (name == "x-max-priority" and value > _MAX_PRIORITY):
            kind = "value_zero" if value == 0 else "value_negative" if value < 0 else "max_value_exceeded"
            raise failed(f"invalid arg '{name}' for {what}: {{{kind},{value}}}")
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        raise failed(f"invalid arg 'x-dead-letter-routing-key' for {what}: routing_key_but_no_dlx_defined")


def check_equivalence(what: str, received: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuse to declare a queue with other arguments than it has."""
    for name in _COMPARED:
        new, old = received.get(name), current.get(name)
        if name == "x-queue-type":
            # No type is the classic type (rabbit_misc:assert_field_equivalence).
            new, old = new or "classic", old or "classic"
        if new != old:
            raise inequivalent(name, what, new, old)
