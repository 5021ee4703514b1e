"""Which servers an app's settings point to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from celery.app.backends import by_url
from celery.app.defaults import SETTING_KEYS
from kombu.transport import TRANSPORT_ALIASES
from kombu.utils.url import maybe_sanitize_url, url_to_parts

from tasksim.broker.amqp.management import bindings
from tasksim.broker.amqp.vhost import VirtualHost
from tasksim.errors import UnsupportedError, UsageError
from tasksim.nearest import nearest
from tasksim.patching.table import Row
from tasksim.worker.world import World

AMQP, REDIS = "amqp", "redis"
_RULES = {
    "amqp": AMQP, "amqps": AMQP, "pyamqp": AMQP, "librabbitmq": AMQP, "memory": AMQP,
    "redis": REDIS, "rediss": REDIS, "redis+socket": REDIS, "sentinel": REDIS,
}  # fmt: skip
#: Result stores on servers that are neither simulated nor a file.
_STORES_ELSEWHERE = frozenset((
    "memcache", "memcached", "pylibmc", "pymemcache", "mongodb", "elasticsearch", "cassandra", "couchbase", "couchdb",
    "cosmosdbsql", "riak", "consul", "dynamodb", "azureblockblob", "arangodb", "s3", "gs",
))  # fmt: skip
_PYAMQP = "kombu.transport.pyamqp:Transport"


def plain_names(app: Any, changed: Mapping[str, Any]) -> dict[str, Any]:
    """These settings by Celery's own names: `CELERY_BROKER_URL` is `broker_url` for an app whose namespace is CELERY.

    Raises:
        UsageError: neither Celery nor the app knows the name, and a setting of Celery's has one very like it.
    """
    if app is None or not changed:
        return dict(changed)
    prefix, plain = app.conf.prefix or "", {}
    for name, value in changed.items():
        own = prefix and name.startswith(prefix) and name[len(prefix) :].lower()
        key = own if own and own in SETTING_KEYS else name
        near = None if key in app.conf else nearest(key, SETTING_KEYS, likeness=0.8)
        if near:
            raise UsageError(f"there is no setting {name!r}; did you mean {near!r}?")
        plain[key] = value
    return plain


def forget_environment(changed: Mapping[str, Any]) -> None:
    """What the simulation sets goes before what Celery reads from the environment; put back at the end."""
    names = {
        "broker_url": ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"),
        "result_backend": ("CELERY_RESULT_BACKEND",),
    }
    for setting, variables in names.items():
        if changed.get(setting):
            for variable in variables:
                os.environ.pop(variable, None)


def broker_rules(app: Any, changed: Mapping[str, Any]) -> str:
    """Whose rules an app's broker follows: "amqp" or "redis".

    Args:
        changed: settings that the simulation sets otherwise than the app does.

    Raises:
        UnsupportedError: a transport that is not simulated.
        UsageError: no URL at all.
    """
    # As attributes: the environment, where it says something, goes before what is set.
    names = ("broker_url", "broker_write_url", "broker_transport")
    conf = {name: getattr(app.conf, name) for name in names} | dict(changed)
    url = conf["broker_url"] or conf["broker_write_url"] or "amqp://"
    first = (url[0] if isinstance(url, (list, tuple)) else str(url).split(";")[0]) or "amqp://"
    scheme = str(conf["broker_transport"] or first.partition("://")[0] or "amqp")
    rules = _RULES.get(scheme)
    if rules is None and "://" not in first and not conf["broker_transport"]:
        raise UsageError(
            f"the broker URL {maybe_sanitize_url(first)!r} names no transport; "
            "write amqp://USER:PASSWORD@HOST:PORT/VHOST or redis://HOST:PORT/NUMBER"
        )
    if rules is None:
        raise UnsupportedError(
            f"the broker {scheme}:// is not simulated; give one whose rules come closest: "
            'Simulation(app, broker="amqp://") for RabbitMQ or Simulation(app, broker="redis://")'
        )
    return rules


def check_pool(worker: str, app: Any, conf: Mapping[str, Any] | None, options: Mapping[str, Any]) -> None:
    """Can this worker's pool be simulated?

    Args:
        conf: settings that only this worker has.
        options: of the worker.

    Raises:
        UnsupportedError: a pool of greenlets.
    """
    pool = str(options.get("pool") or (conf or {}).get("worker_pool") or app.conf.worker_pool)
    for name in ("gevent", "eventlet"):
        if pool == name or pool.startswith(f"celery.concurrency.{name}"):
            raise UnsupportedError(
                f"worker {worker}: the pool {name} is not simulated, for {name} patches the interpreter that all "
                f'simulated processes share. Use threads, as many at once: pool="threads" for this worker, or '
                f'Simulation(app, settings={{"worker_pool": "threads"}})'
            )


def check_store(app: Any, changed: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Can this app's result store be had inside the simulation?

    Args:
        changed: settings that the simulation sets otherwise than the app does.
        allowed: hosts to which real connections may be made; where there are some, a real store is meant.

    Raises:
        UnsupportedError: a store on a server that is not simulated.
        UsageError: a word that names no store.
    """
    named = str(changed.get("result_backend", app.conf.result_backend) or "")
    if named and "://" not in named:
        _find_store(app, named)
    kind, _, rest = named.partition("://")[0].partition("+")
    if kind == "cache":
        kind = rest or str(changed.get("cache_backend", app.conf.cache_backend) or "").partition("://")[0]
    if kind in _STORES_ELSEWHERE and not list(allowed):
        raise UnsupportedError(
            f"the result store {kind} is not simulated; give another one in its place: "
            'Simulation(app, backend="redis://"), or backend="cache+memory://". To use a real one, allow its host: '
            'Simulation(app, allow=["HOST:PORT"])'
        )


def _find_store(app: Any, named: str) -> None:
    try:
        by_url(named, app.loader)
    except ImportError as exc:
        raise UsageError(
            f"the result store {named!r} is neither a kind of store nor a class that can be imported ({exc}); "
            "write redis://HOST:PORT/NUMBER, rpc:// or cache+memory://"
        ) from exc


def chatter(app: Any) -> frozenset[str]:
    """Exchanges of remote control and of worker events (kombu.pidbox, celery.events): not what a user asks about."""
    conf = {} if app is None else app.conf
    control = conf.get("control_exchange") or "celery"
    return frozenset((conf.get("event_exchange") or "celeryev", f"{control}.pidbox", f"reply.{control}.pidbox"))


def uses_redis(app: Any, changed: Mapping[str, Any]) -> bool:
    """Does an app reach for kombu's or Celery's Redis code? For `changed` see `broker_rules`."""
    backend = changed.get("result_backend", app.conf.result_backend)
    return broker_rules(app, changed) == REDIS or "redis" in str(backend or "")


def store_address(app: Any, changed: Mapping[str, Any]) -> tuple[str, int] | str | None:
    """Where an app's result store is: the address of a Redis, "amqp" if it is the broker's, None if no server is.

    Args:
        changed: settings that the simulation sets otherwise than the app does.
    """
    url = "" if app is None else str(changed.get("result_backend", app.conf.result_backend) or "")
    if url.startswith(("rpc", "amqp")):
        return AMQP
    if not url.startswith(("redis", "sentinel")):
        return None
    masters = sentinel_masters(app, changed)
    parts = url_to_parts(url.split(";")[0])
    if url.startswith("sentinel") and masters:
        return list(masters.values())[-1]
    return parts.hostname or "localhost", parts.port or 6379


def sentinel_masters(app: Any, changed: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Where the masters are that an app asks sentinels for: at Redis' usual port, a second one at the next.

    Args:
        changed: settings that the simulation sets otherwise than the app does.
    """
    if app is None:
        return {}
    names = []
    for setting in ("broker_transport_options", "result_backend_transport_options"):
        options = changed.get(setting, app.conf.get(setting)) or {}
        if options.get("master_name"):
            names.append(str(options["master_name"]))
    return {name: ("127.0.0.1", 6379 + index) for index, name in enumerate(dict.fromkeys(names))}


def _aliases(world: World) -> object:
    aliases = {**TRANSPORT_ALIASES, "amqp": _PYAMQP, "pyamqp": _PYAMQP, "librabbitmq": _PYAMQP}
    # A worker in the test's own process shares kombu's memory transport with the test, as in life.
    return aliases if world.app is None else {**aliases, "memory": _PYAMQP}


class Management:
    """Asks a simulated RabbitMQ what its management plugin would tell; stands in for pyrabbit's client."""

    def __init__(self, vhost: VirtualHost) -> None:
        self._vhost = vhost

    def get_bindings(self) -> list[dict[str, Any]]:
        """For `celery list bindings`."""
        return bindings(self._vhost)

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedError(
            f"{name} of RabbitMQ's management API is not simulated, only get_bindings; "
            "sim.queues tells what is in the queues"
        )


def _manager(world: World) -> object:
    def get_manager(client: Any, hostname: Any = None, **_: Any) -> Management:
        server = world.amqp.at(hostname or client.hostname or "localhost", client.port or 5672).server
        return Management(server.vhost(client.virtual_host or "/"))

    return get_manager


ROWS = (
    Row("kombu.transport.pyamqp:get_manager", "the management plugin is an HTTP server of its own", _manager),
    Row("kombu.transport:TRANSPORT_ALIASES", "memory:// follows RabbitMQ's rules; amqp:// must be py-amqp", _aliases),
    Row("kombu.transport:_transport_cache", "transports that were looked up before", lambda _: {}),
    Row(
        "kombu.connection:supports_librabbitmq",
        "amqp:// must be py-amqp; it searches the disk for each connection",
        lambda _: lambda: None,
    ),
)
