"""What stands in a server's queues, as rows and as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["QueueRow", "table"]


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue at one instant."""

    name: str
    ready: int
    unacked: int
    consumers: int
    durable: bool = True
    exclusive: bool = False
    vhost: str = "/"


_HEAD = ("queue", "ready", "unacked", "consumers")


def table(rows: Iterable[QueueRow]) -> str:
    """The rows as text, as `rabbitmqctl list_queues` would print them."""
    lines = [_HEAD, *((row.name, str(row.ready), str(row.unacked), str(row.consumers)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
