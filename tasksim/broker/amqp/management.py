"""What the management plugin's HTTP API tells, as far as it is asked (docs "http-api-reference")."""

from __future__ import annotations

from typing import Any

from tasksim.broker.amqp.exchange import Exchange
from tasksim.broker.amqp.vhost import VirtualHost

__all__ = ["bindings"]


def bindings(vhost: VirtualHost) -> list[dict[str, Any]]:
    """GET /api/bindings of one virtual host: each queue's to the default exchange, then those of each exchange."""
    found = [_row(vhost, "", name, name, {}, "queue") for name in vhost.queues]
    for exchange in vhost.exchanges.values():
        for one in exchange.bindings.values():
            kind = "exchange" if isinstance(one.destination, Exchange) else "queue"
            found.append(_row(vhost, exchange.name, one.destination.name, one.key, one.arguments, kind))
    return found


def _row(
    vhost: VirtualHost, source: str, destination: str, key: str, arguments: dict[str, Any], kind: str
) -> dict[str, Any]:
    return {
        "source": source, "vhost": vhost.name, "destination": destination, "destination_type": kind,
        "routing_key": key, "arguments": dict(arguments), "properties_key": key or "~",
    }  # fmt: skip
