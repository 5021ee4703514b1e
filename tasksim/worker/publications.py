"""What was published, read again from the messages that the servers were given."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import kombu.message
from kombu.serialization import registry

from tasksim.broker.servers import AmqpServers
from tasksim.events import DeadLettered, Event, Fault, MessageExpired, Published, Queued
from tasksim.message import Content, Message, count_of, text_of

__all__ = ["Publication", "Publications"]

#: Where messages of native delayed delivery wait (kombu.transport.native_delayed_delivery), and where they go then.
_DELAYED = re.compile(r"celery_delayed_\d+$")
_DELAYS = re.compile(r"(?:[01]\.)+")
#: kombu's; it has no types.
_KombuMessage: Any = kombu.message.Message
_registry: Any = registry
_DELIVERY = "celery_delayed_delivery"


def _moment(text: object) -> datetime | None:
    """An ISO 8601 instant; without a time zone it is UTC, as Celery reads it."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Publication:
    """One message of a task, as it was published.

    Attributes:
        message: its number, that of the events.
        time: when, virtual seconds since the start.
        process: who published it: "client" (the test), "w1/2", "beat".
        task, id: the task's name, and the call's id.
        args, kwargs: as a worker reads them. Empty if the body cannot be read; then `error` says why.
        embed: what came with them: callbacks, errbacks, chain and chord, as signatures.
        queues: names of those that it was put into; with native delayed delivery those that it is meant for.
        exchange, routing_key: as it was published with.
        eta, expires: aware, or None.
        countdown: seconds from publishing to the ETA, or None.
        retries: how often the task had been retried; above 0 this is a retry.
        priority: 0 if none was given.
        headers: Celery's, and those that the caller gave.
        properties: of the message, by the names of the broker's protocol.
        serializer: "json", "pickle", ...
        error: why the body cannot be read, or None.
    """

    def __init__(self, event: Published, content: Any, wall: float) -> None:
        self.message, self.time, self.process = event.message, event.time, event.process
        self.exchange, self.routing_key = event.exchange, event.routing_key
        self.queues: tuple[str, ...] = ()
        self._error: str | None = None
        self._wall = wall
        self._body: bytes | str
        if isinstance(content, Content):
            self.properties: Mapping[str, Any] = content.properties
            self.headers: Mapping[str, Any] = content.properties.get("application_headers") or {}
            self._kind: str = content.properties.get("content_type") or ""
            self._encoding, self._body = content.properties.get("content_encoding"), content.body
        else:
            self.properties, self.headers = content["properties"], content["headers"]
            self._kind, self._encoding = content["content-type"], content["content-encoding"]
            encoded = self.properties.get("body_encoding") == "base64"
            self._body = base64.b64decode(content["body"]) if encoded else content["body"]
        self._parts: tuple[Any, Any, Any] | None = None
        #: Protocol 1 has all in its body.
        self._told: Mapping[str, Any] = self.headers
        if "task" not in self.headers and "reply_to" in self.properties:
            self._told = self._read_first_protocol()
        self.task, self.id = text_of(self._told.get("task")), text_of(self._told.get("id"))
        self.retries = count_of(self._told.get("retries")) or 0
        self.priority: int = self.properties.get("priority") or 0
        self.eta, self.expires = _moment(self._told.get("eta")), _moment(self._told.get("expires"))

    def _decoded(self) -> Any:
        # As a worker reads it, whatever content it accepts.
        message = _KombuMessage(
            self._body, content_type=self._kind, content_encoding=self._encoding, headers=dict(self.headers),
            postencode="utf-8",
        )  # fmt: skip
        if message.errors:
            message._reraise_error()
        return _registry.loads(message.body, self._kind, self._encoding, force=True)

    def _read_first_protocol(self) -> Mapping[str, Any]:
        try:
            body = self._decoded()
        except Exception:  # no task that anybody could read
            return {}
        if not isinstance(body, Mapping) or "task" not in body:
            return {}
        links = {name: body.get(name) for name in ("callbacks", "errbacks", "chord")}
        self._parts = body.get("args") or [], body.get("kwargs") or {}, links
        return body

    def _read(self) -> tuple[Any, Any, Any]:
        if self._parts is None:
            try:
                args, kwargs, embed = self._decoded()
            except Exception as error:  # the user's own serializer may raise anything
                self._error = f"{type(error).__name__}: {error}"
                args, kwargs, embed = [], {}, {}
            self._parts = args, kwargs, embed
        return self._parts

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        return tuple(self._read()[0])

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return dict(self._read()[1])

    @property
    def error(self) -> str | None:
        """Why the body cannot be read."""
        self._read()
        return self._error

    @property
    def serializer(self) -> str:
        """Its name as kombu registers it, "json"; of one that is not registered, the content's type."""
        return str(_registry.type_to_name.get(self._kind, self._kind))

    @property
    def embed(self) -> dict[str, Any]:
        """What goes with the call: callbacks, errbacks, chain, chord."""
        return dict(self._read()[2] or {})

    @property
    def countdown(self) -> float | None:
        """Seconds from publishing to the ETA."""
        return self._after(self.eta)

    @property
    def expires_in(self) -> float | None:
        """Seconds from publishing to the expiry."""
        return self._after(self.expires)

    def _after(self, moment: datetime | None) -> float | None:
        return None if moment is None else round(moment.timestamp() - self._wall, 6)

    def due(self, moment: datetime | None) -> float | None:
        """A moment in virtual seconds since the start."""
        after = self._after(moment)
        return None if after is None else self.time + after

    def carried(self, value: object) -> object:
        """A value as it would arrive in a message like this one; itself if it cannot be sent so."""
        try:
            kind, encoding, body = _registry.dumps(value, self.serializer)
            return _registry.loads(body, kind, encoding, force=True)
        except Exception:  # the user's own serializer may raise anything
            return value

    def __str__(self) -> str:
        given = [repr(one) for one in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        parts = [f"{self.task}({', '.join(given) if self.error is None else '...'})"]
        parts.append(f"to {', '.join(self.queues)}" if self.queues else f"to no queue, by {self._address()}")
        parts.append(f"at {self.time:g} s by {self.process}")
        for name, value in (("countdown", self.countdown), ("expires in", self.expires_in)):
            parts += [] if value is None else [f"{name} {value:g} s"]
        parts += [f"retry {self.retries}"] if self.retries else []
        parts += [f"priority {self.priority}"] if self.priority else []
        parts += [] if self.error is None else [f"its body cannot be read: {self.error.partition(':')[0]}"]
        return f"{', '.join(parts)} [{self.id}]"

    def __repr__(self) -> str:
        return f"<Publication {self}>"

    def _address(self) -> str:
        return f"exchange {self.exchange!r} and routing key {self.routing_key!r}"


class Publications:
    """Reads what was published, each message once.

    Args:
        kept: number and content of the last messages, in the order of publishing.
        events: the trace.
        servers: where routes are looked up.
    """

    def __init__(self, kept: Iterable[tuple[int, Any]], events: list[Event] | Any, servers: AmqpServers) -> None:
        self._kept, self._events, self._servers = kept, events, servers
        self._seen = 0
        self._published: dict[int, tuple[Published, float]] = {}
        self._queues: dict[int, list[str]] = {}
        self._gone: set[int] = set()
        self._jumped = 0.0
        self._read: dict[int, Publication] = {}

    def _catch_up(self) -> None:
        for event in self._events[self._seen :]:
            if isinstance(event, Published):
                self._published[event.message] = event, self._jumped
            elif isinstance(event, Queued):
                if event.message not in self._gone:
                    self._queues.setdefault(event.message, []).append(event.queue)
            elif isinstance(event, (DeadLettered, MessageExpired)):
                self._gone.add(event.message)  # where it is put now was not its publisher's doing
            elif isinstance(event, Fault) and event.kind == "jump clock":
                self._jumped += float(event.target.split()[0])
        self._seen = len(self._events)

    def all(self, epoch: float) -> list[Publication]:
        """All messages of tasks, in the order of publishing.

        Args:
            epoch: what the time of day would have been at the start, by the clock as it goes now; seconds since 1970.
        """
        self._catch_up()
        found = []
        for number, content in self._kept:
            one = self._read.get(number)
            if one is None:
                event, jumped = self._published[number]
                wall = epoch - (self._jumped - jumped) + event.time
                one = self._read[number] = Publication(event, content, wall)
            if one.task is not None:
                one.queues = self._meant_for(one)
                found.append(one)
        return found

    def forgotten(self, oldest: int) -> list[Published]:
        """Of messages before this one, whose contents are no longer kept, what the trace says."""
        return [event for number, (event, _) in self._published.items() if number < oldest]

    def _meant_for(self, one: Publication) -> tuple[str, ...]:
        if not _DELAYED.match(one.exchange):
            return tuple(self._queues.get(one.message, ()))
        message = Message(0, _DELIVERY, one.routing_key, {}, b"")
        vhosts = [vhost for server in self._servers.all() for vhost in server.vhosts.values()]
        names = [queue.name for vhost in vhosts for queue in vhost.route(message)]
        return tuple(dict.fromkeys(names)) or (_DELAYS.sub("", one.routing_key, count=1),)
