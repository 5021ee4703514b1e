"""Exchanges and their bindings: which destinations a message goes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasksim.broker.amqp.queue import Queue

__all__ = ["KINDS", "Binding", "Exchange", "matches_headers", "matches_topic"]

#: Kinds that RabbitMQ has without plugins (docs "exchanges").
KINDS = ("direct", "fanout", "topic", "headers")


class Binding:
    """From an exchange to a queue or another exchange."""

    __slots__ = ("arguments", "destination", "key", "words")

    def __init__(self, destination: Queue | Exchange, key: str, arguments: dict[str, Any]) -> None:
        self.destination, self.key, self.arguments = destination, key, arguments
        self.words = key.split(".")

    @property
    def durable(self) -> bool:
        """Survives a restart: its destination does (docs "queues": durable bindings join durable things)."""
        return self.destination.durable


class Exchange:
    """An exchange.

    Attributes:
        bindings: outgoing, in the order of binding, by destination, key and arguments.
        incoming: exchanges that have a binding to this one.
    """

    __slots__ = (
        "alternate",
        "arguments",
        "auto_delete",
        "bindings",
        "durable",
        "incoming",
        "internal",
        "kind",
        "name",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.kind = name, kind
        self.durable, self.auto_delete, self.internal = durable, auto_delete, internal
        self.arguments = arguments or {}
        # docs "ae": where messages go that no binding matches.
        self.alternate: str | None = self.arguments.get("alternate-exchange")
        self.bindings: dict[tuple[Any, ...], Binding] = {}
        self.incoming: dict[Exchange, None] = {}

    def __repr__(self) -> str:
        return f"<{self.kind} exchange {self.name!r}>"

    def bind(self, destination: Queue | Exchange, key: str, arguments: dict[str, Any]) -> bool:
        """Add a binding; False when the same one is there (spec: binding twice is no error)."""
        identity = (destination, key, _frozen(arguments))
        if identity in self.bindings:
            return False
        self.bindings[identity] = Binding(destination, key, arguments)
        destination.incoming[self] = None
        return True

    def has(self, destination: Queue | Exchange, key: str, arguments: dict[str, Any]) -> bool:
        """There is this binding."""
        return (destination, key, _frozen(arguments)) in self.bindings

    def unbind(self, destination: Queue | Exchange, key: str, arguments: dict[str, Any]) -> bool:
        """Remove a binding; False when there is none."""
        if self.bindings.pop((destination, key, _frozen(arguments)), None) is None:
            return False
        if not any(binding.destination is destination for binding in self.bindings.values()):
            destination.incoming.pop(self, None)
        return True

    def forget(self, destination: Queue | Exchange) -> bool:
        """Remove all bindings to a destination that goes away; True if there was one."""
        gone = [identity for identity, binding in self.bindings.items() if binding.destination is destination]
        for identity in gone:
            del self.bindings[identity]
        return bool(gone)

    def destinations(self, key: str, headers: dict[str, Any]) -> Iterator[Queue | Exchange]:
        """Where a message with this key goes, one after the other; the same destination may come twice."""
        found: Iterable[Binding] = self.bindings.values()
        if self.kind == "direct":
            found = [binding for binding in found if binding.key == key]
        elif self.kind == "topic":
            words = key.split(".")
            found = [binding for binding in found if matches_topic(binding.words, words)]
        elif self.kind == "headers":
            found = [binding for binding in found if matches_headers(binding.arguments, headers)]
        return (binding.destination for binding in found)


def matches_topic(pattern: list[str], words: list[str]) -> bool:
    """`*` stands for one word, `#` for any number of words, none included (spec 3.1.3.3)."""
    # Which beginnings of `words` the pattern read so far can match; linear in memory, whatever the number of hashes.
    reached = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            first = reached.index(True) if True in reached else len(reached)
            reached = [index >= first for index in range(len(reached))]
        else:
            reached = [False] + [reached[index] and part in ("*", word) for index, word in enumerate(words)]
    return reached[-1]


def matches_headers(arguments: dict[str, Any], headers: dict[str, Any]) -> bool:
    """x-match all or any, with or without the headers that begin with x- (rabbit_exchange_type_headers)."""
    how = arguments.get("x-match", "all")
    wanted = {
        name: value
        for name, value in arguments.items()
        if name != "x-match" and (how.endswith("-with-x") or not name.startswith("x-"))
    }
    # An argument without a value asks only that the header be there.
    hits = (name in headers and (value is None or headers[name] == value) for name, value in wanted.items())
    return any(hits) if how.startswith("any") else all(hits)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _frozen(value[name])) for name in sorted(value))
    if isinstance(value, list):
        return tuple(_frozen(part) for part in value)
    return value
