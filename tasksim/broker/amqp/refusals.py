"""What a server answers when it refuses: a code, RabbitMQ's words, and whether the whole connection has to go."""

from __future__ import annotations

__all__ = ["Refusal", "describe", "failed", "inequivalent", "not_found"]

#: Codes and names; spec 1.3 "constants", RabbitMQ adds NO_ROUTE (312).
NAMES = {
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
#: A soft error closes the channel, any other the connection (spec 1.3, "soft-error").
SOFT = frozenset([311, 312, 313, 403, 404, 405, 406])

#: A short string holds so much (rabbit_binary_generator, amqp_exception_explanation).
_LONGEST = 255


class Refusal(Exception):
    """A method that cannot be done."""

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        self.text = f"{NAMES[code]} - {words}"
        if len(self.text) > _LONGEST:
            self.text = self.text[: _LONGEST - 3] + "..."
        super().__init__(self.text)

    @property
    def closes_connection(self) -> bool:
        """The connection goes, not only the channel."""
        return self.code not in SOFT


def describe(kind: str, name: str, vhost: str) -> str:
    """A thing as RabbitMQ's messages name it (rabbit_misc:rs)."""
    return f"{kind} '{name}' in vhost '{vhost}'"


def not_found(kind: str, name: str, vhost: str) -> Refusal:
    """What was asked for does not exist."""
    return Refusal(404, f"no {describe(kind, name, vhost)}")


def failed(words: str) -> Refusal:
    """PRECONDITION_FAILED."""
    return Refusal(406, words)


def _value(value: object) -> str:
    # rabbit_misc:val; types as py-amqp would have written them.
    if value is None:
        return "none"
    kind = {bool: "bool", int: "signedint", str: "longstr", float: "double", dict: "table", list: "array"}
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"the value '{shown}' of type '{kind.get(type(value), 'longstr')}'"


def inequivalent(argument: str, what: str, received: object, current: object) -> Refusal:
    """A thing declared again, and differently (rabbit_misc:assert_args_equivalence1, equivalence_fail).

    Where only one side has a value, its type is told too.
    """
    show = _value if None in (received, current) else _quoted
    return failed(f"inequivalent arg '{argument}' for {what}: received {show(received)} but current is {show(current)}")


def _quoted(value: object) -> str:
    return f"'{str(value).lower() if isinstance(value, bool) else value}'"
