"""Which server's rules a simulation follows, and whether they are those that somebody assumes."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tasksim.errors import UsageError

SERVERS = ("rabbitmq", "redis")
REMEDY = 'write "redis" or "rabbitmq", with a version where it matters: "rabbitmq>=4"'
_COMPARE = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_ASSUMPTION = re.compile(rf"\s*({'|'.join(SERVERS)})\s*(?:(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*))?\s*")


def _difference(first: str, second: str) -> int:
    """Below, above or 0 as the first version is before, after or equal to the second; 4 is 4.0."""
    pairs = zip_longest(first.split("."), second.split("."), fillvalue="0")
    return next((int(one) - int(other) for one, other in pairs if int(one) != int(other)), 0)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a broker.

    Attributes:
        server: "rabbitmq" or "redis".
        version: of the server, such as "4.1".
    """

    server: str
    version: str

    def __str__(self) -> str:
        return f"{'RabbitMQ' if self.server == 'rabbitmq' else 'Redis'} {self.version}"

    def are(self, assumed: str | Sequence[str]) -> bool:
        """Are these the rules, or one of those, that are assumed? "redis", "rabbitmq>=4", ["redis", "rabbitmq<4"].

        Raises:
            UsageError: that is not how it is written.
        """
        each = [self._is(one) for one in (assumed if isinstance(assumed, (list, tuple)) else [assumed])]
        if not each:
            raise UsageError(f"{assumed!r} names no rules; {REMEDY}")
        return any(each)

    def _is(self, assumed: object) -> bool:
        match = _ASSUMPTION.fullmatch(str(assumed))
        if match is None:
            raise UsageError(f"{assumed!r} names no rules; {REMEDY}")
        server, sign, version = match.groups()
        return server == self.server and (sign is None or _COMPARE[sign](_difference(self.version, version), 0))
