"""Where py-amqp is cut: below its methods, above its frames.

py-amqp's `Connection` and `Channel` run as shipped. What is replaced is one attribute,
`amqp.connection.Connection.Transport`, a method that makes the object which owns the socket; the replacement also sets
the connection's `frame_writer_cls` and `frame_handler_cls`, which py-amqp offers as arguments for that purpose. Over
the wire go whole methods instead of frames: (channel, method, arguments, content). Handshake, confirms, errors, cancel
notifications and heartbeats stay py-amqp's.

What a frame would have done to a message is done to it here: text becomes bytes, a tuple a list, and no two processes
ever hold the same dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, TypeVar

from amqp.basic_message import Message as AmqpMessage
from amqp.serialization import dumps, loads
from amqp.spec import Basic
from amqp.transport import to_host_port

from tasksim.message import Content
from tasksim.network.methods import Method, MethodTransport, Payload
from tasksim.network.wire import Listener, Network
from tasksim.patching.table import Row
from tasksim.unix.descriptors import Descriptors

__all__ = ["ROWS", "AmqpSeam"]

_HEARTBEAT: Method = (0, 0)
_METHOD_FRAME = 1
_DELIVERY = Struct(">QB")
_REMEMBERED = 256
_Key = TypeVar("_Key")
_Known = TypeVar("_Known")
#: What stands before and after tag and flag of a delivery, by consumer, exchange and routing key.
_Ends = dict[tuple[str, str, str], tuple[bytes, bytes]]
_ACK = Struct(">QB")
_SIGNATURE = Struct(">HH")
_DELIVER_SIGNATURE = _SIGNATURE.pack(*Basic.Deliver)
#: A message's properties that a content header has; others are not sent.
_PROPERTIES = frozenset(name for name, _ in AmqpMessage.PROPERTIES)
_PLAIN = frozenset([str, int, float, bool, type(None)])


class AmqpSeam:
    """Connects py-amqp to simulated servers.

    Args:
        system: the running processes' descriptors.
        network: the wires.
        server_at: the server at a host and port; raises for an address that is not simulated.
        from_client, from_server: formats of the methods' arguments in both directions.
    """

    def __init__(
        self,
        system: Descriptors,
        network: Network,
        server_at: Callable[[str, int], Listener],
        from_client: Mapping[Method, str],
        from_server: Mapping[Method, str],
    ) -> None:
        self.system, self.network, self.server_at = system, network, server_at
        self.from_client, self.from_server = from_client, from_server

    def transport(self) -> Callable[..., MethodTransport]:
        """What takes the place of `amqp.connection.Connection.Transport`."""

        def make(connection: Any, host: str, *_: Any, **__: Any) -> MethodTransport:
            connection.frame_writer_cls = self._writer
            connection.frame_handler_cls = self._reader
            address = to_host_port(host)
            return MethodTransport(self.system, self.network, self.server_at, address, connection.read_timeout)

        return make

    def _writer(self, connection: Any, transport: MethodTransport) -> Callable[..., None]:
        formats = self.from_client
        addresses: dict[bytes, tuple[int, str, str, bool, bool]] = {}

        def write(kind: int, channel: int, method: Method, args: bytes, content: Any) -> None:
            if kind != _METHOD_FRAME:
                transport.write((0, _HEARTBEAT, (), None))
            elif method == Basic.Publish:
                # Addresses are few, and each message names one.
                where = addresses[args] if args in addresses else _remember(addresses, args, _read_publish(args))
                transport.write((channel, method, where, _outgoing(content)))
            elif method == Basic.Ack:
                transport.write((channel, method, _ACK.unpack(args), None))
            else:
                values = loads(formats[method], args, 0)[0] if args else ()
                transport.write((channel, method, tuple(values), None))
            connection.bytes_sent += 1

        return write

    def _reader(self, connection: Any, callback: Callable[..., None]) -> Callable[[Payload], bool]:
        formats = self.from_server
        ends: _Ends = {}

        def read(payload: Payload) -> bool:
            channel, method, args, content = payload
            connection.bytes_recv += 1
            if method == _HEARTBEAT:
                return False
            if method == Basic.Deliver:
                encoded = _write_deliver(ends, *args)
            else:
                encoded = _SIGNATURE.pack(*method) + dumps(formats[method], args)
            callback(channel, method, encoded, None if content is None else _incoming(method, encoded, content))
            return True

        return read


def _read_publish(args: bytes) -> tuple[int, str, str, bool, bool]:
    """What `loads("Bssbb", ...)` gives, in a fifth of the time: there is one for each message."""
    end = 3 + args[2]
    exchange = args[3:end].decode("utf-8", "surrogatepass")
    key = args[end + 1 : -1].decode("utf-8", "surrogatepass")
    bits = args[-1]
    return 0, exchange, key, bool(bits & 1), bool(bits & 2)


def _write_deliver(ends: _Ends, consumer: str, tag: int, redelivered: bool, exchange: str, key: str) -> bytes:
    """What `dumps("sLbss", ...)` gives, after the method's signature; `ends` are remembered."""
    names = consumer, exchange, key
    head, tail = ends[names] if names in ends else _remember(ends, names, _around_delivery(*names))
    return head + _DELIVERY.pack(tag, redelivered) + tail


def _around_delivery(consumer: str, exchange: str, key: str) -> tuple[bytes, bytes]:
    first, *others = (name.encode("utf-8", "surrogatepass") for name in (consumer, exchange, key))
    tail = b"".join(bytes([len(name)]) + name for name in others)
    return _DELIVER_SIGNATURE + bytes([len(first)]) + first, tail


def _remember(known: dict[_Key, _Known], key: _Key, value: _Known) -> _Known:
    """Keep something for the next time; what has grown large is forgotten."""
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value
    return value


def _outgoing(message: Any) -> Content:
    """A message as it would arrive at the server."""
    body, properties = message.body, message.properties
    if isinstance(body, str):
        # As py-amqp's frame_writer does, the message's own properties included.
        body = body.encode(properties.setdefault("content_encoding", "utf-8"))
    sent = {name: value for name, value in properties.items() if value is not None and name in _PROPERTIES}
    headers = sent.get("application_headers")
    if headers is not None:
        sent["application_headers"] = _table(headers)
    return Content(sent, bytes(body))


def _incoming(method: Method, encoded: bytes, content: Content) -> Any:
    """A message as it would arrive at the client."""
    message = AmqpMessage(content.body, None, None)
    message.frame_method, message.frame_args = method, encoded
    message.properties = properties = content.properties.copy()
    headers = properties.get("application_headers")
    if headers is not None:
        properties["application_headers"] = _table(headers)
    message.body_size = message.body_received = len(content.body)
    message.ready = True
    return message


def _table(table: dict[str, Any]) -> dict[str, Any]:
    """A table after a journey: what is plain is itself, the rest is made anew."""
    made = dict(table)
    for name, value in table.items():
        kind = value.__class__
        if kind not in _PLAIN:
            # What Celery's headers have, without a call: no stamps, and two time limits.
            if kind is dict and not value:
                made[name] = {}
            elif kind is list and _PLAIN.issuperset(map(type, value)):
                made[name] = value.copy()
            else:
                made[name] = _item(value)
    return made


def _item(value: Any) -> Any:
    kind = value.__class__
    if kind is dict:
        return _table(value)
    if kind is list or kind is tuple:
        return [part if part.__class__ in _PLAIN else _item(part) for part in value]
    # Bytes, dates, decimals, subclasses of what is plain, and what cannot be sent: py-amqp knows.
    return loads("F", dumps("F", [{"item": value}]), 0)[0][0]["item"]


#: What a simulation replaces; the world has the seam as `amqp_seam`.
ROWS = (
    Row(
        "amqp.connection:Connection.Transport",
        "connections of py-amqp go to simulated servers",
        lambda world: world.amqp_seam.transport(),
    ),
)
