"""Which simulated servers are the app's broker and its result store."""

from __future__ import annotations

from typing import Any, Protocol

from tasksim.broker.redis_watch import RedisWatch
from tasksim.broker.servers import AmqpServers
from tasksim.broker.snapshot import QueueRow
from tasksim.errors import UsageError
from tasksim.network.redis import RedisServers
from tasksim.worker import settings

__all__ = ["find", "rows"]


class _World(Protocol):
    app: Any
    amqp: AmqpServers
    redis: RedisServers
    redis_watch: RedisWatch
    rules: str | None
    _settings: dict[str, Any]


def rows(world: _World) -> dict[str, QueueRow]:
    """The queues of the app's broker; without an app, those of all brokers."""
    found = dict(world.redis_watch.rows()) if world.rules != settings.AMQP else {}
    if world.rules != settings.REDIS:
        found.update((row.name, row) for server in world.amqp.all() for row in server.rows())
    return found


def find(world: _World, name: str) -> list[Any]:
    """The servers of this name: "broker", "backend" (the result store), or one as in events.

    A broker or a store that nobody has connected to is made.

    Raises:
        UsageError: there is none of this name.
    """
    if name == "broker":
        return _brokers(world)
    if name == "backend":
        return _stores(world)
    everyone: list[Any] = [*world.amqp.all(), *world.redis.all()]
    known = {server.name: server for server in everyone}
    if name not in known:
        names = ", ".join(["broker", "backend", *known])
        raise UsageError(f"server={name!r}: there is no such server; name one of {names}")
    return [known[name]]


def _brokers(world: _World) -> list[Any]:
    """Those that the app's broker settings reach; without an app, all."""
    if world.app is not None:
        broker = world.app.connection_for_write()
        if world.rules == settings.AMQP:
            world.amqp.at(broker.hostname or "localhost", broker.port or 5672)
        elif not world.redis.all():
            world.redis.at(broker.hostname or "localhost", broker.port or 6379)
    rabbitmq = list(world.amqp.all()) if world.rules != settings.REDIS else []
    return rabbitmq + (list(world.redis.all()) if world.rules != settings.AMQP else [])


def _stores(world: _World) -> list[Any]:
    place = settings.store_address(world.app, world._settings)
    if place == settings.AMQP:
        return _brokers(world)
    if isinstance(place, tuple):
        return [world.redis.at(*place)]
    raise UsageError('server="backend": the result store of this app is no simulated server')
