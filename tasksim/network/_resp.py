"""Redis' wire protocol, both versions: commands out of bytes, replies into bytes.

After the protocol's specification (redis.io/docs/latest/develop/reference/protocol-spec). Which types stand for a
status and for an error is told by whoever makes the replies (`encode_as`), so this file knows no library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Encoder = Callable[[Any, int], bytes]


class ProtocolError(Exception):
    """What arrived is no command."""


def _bulk(data: bytes, _: int = 2) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _integer(value: int, version: int) -> bytes:
    if -(1 << 63) <= value < 1 << 63:
        return b":%d\r\n" % value
    return b"(%d\r\n" % value if version == 3 else _bulk(b"%d" % value)


def _array(value: Any, version: int) -> bytes:
    kinds = _KINDS
    return b"*%d\r\n%b" % (len(value), b"".join([kinds[type(one)](one, version) for one in value]))


def _map(value: dict[Any, Any], version: int) -> bytes:
    flat = [one for pair in value.items() for one in pair]
    if version == 2:
        return _array(flat, version)
    return b"%%%d\r\n%b" % (len(value), b"".join([encode(one, version) for one in flat]))


def _set(value: Any, version: int) -> bytes:
    head = b"~%d\r\n" if version == 3 else b"*%d\r\n"
    return head % len(value) + b"".join(sorted(encode(one, version) for one in value))


def _double(value: float, version: int) -> bytes:
    # The shortest text that reads back as the same number, as servers since 7.0 write it.
    text = repr(value).removesuffix(".0").encode()
    return b",%b\r\n" % text if version == 3 else _bulk(text)


def _boolean(value: bool, version: int) -> bytes:
    return (b"#t\r\n" if value else b"#f\r\n") if version == 3 else b":%d\r\n" % value


#: How each exact type is written.
_KINDS: dict[type, Encoder] = {
    bytes: _bulk,
    int: _integer,
    type(None): lambda _, version: b"_\r\n" if version == 3 else b"$-1\r\n",
    list: _array,
    tuple: _array,
    str: lambda value, _: _bulk(value.encode()),
    bool: _boolean,
    float: _double,
    dict: _map,
    set: _set,
    frozenset: _set,
}


def encode_as(kind: type, encoder: Encoder) -> None:
    """Write values of exactly this type so."""
    _KINDS[kind] = encoder


def status(text: bytes) -> bytes:
    """A reply such as OK."""
    return b"+%b\r\n" % text


def error(text: str) -> bytes:
    """An error; a text that does not begin with a code gets the common one."""
    code = text.partition(" ")[0]
    line = text if code.isupper() else f"ERR {text}"
    return b"-%b\r\n" % line.replace("\r", " ").replace("\n", " ").encode()


def encode(value: Any, version: int) -> bytes:
    """One reply in version 2 or 3 of the protocol."""
    encoder = _KINDS.get(type(value))
    if encoder is not None:
        return encoder(value, version)
    for kind in type(value).__mro__[1:]:
        if kind in _KINDS:
            return _KINDS[kind](value, version)
    raise TypeError(f"a reply of type {type(value).__name__}")


def push(value: list[Any], version: int) -> bytes:
    """What a subscriber is told without having asked: a type of its own in version 3."""
    array = _array(value, version)
    return b">" + array[1:] if version == 3 else array


class _Lengths(dict[int, bytes]):
    """How the length of a field is written, by that length: the same few again and again."""

    def __missing__(self, length: int) -> bytes:
        text = b"$%d" % length
        if length < _COMMON:
            self[length] = text
        return text


_COMMON = 4096
_length = _Lengths().__getitem__
#: How a command of so many fields begins, and how many lines those take.
_LINES = {b"*%d" % count: 2 * count for count in range(1, 100)}


def _whole_commands(data: bytes) -> list[list[bytes]] | None:
    """All commands in what arrived, the last one first; None if it is not just whole ones without a line end inside.

    That is what clients send nearly always, and quicker than to go from length to length: between two line ends lies a
    length or a field, and each field is as long as the length before it says.
    """
    lines = data.split(b"\r\n")
    if lines.pop():
        return None
    commands, at, count = [], 0, len(lines)
    while at < count:
        end = at + 1 + _LINES.get(lines[at], count)
        fields = lines[at + 2 : end : 2]
        if end > count or lines[at + 1 : end : 2] != list(map(_length, map(len, fields))):
            return None
        commands.append(fields)
        at = end
    commands.reverse()
    return commands


class Commands:
    """Cuts what arrives into commands, each a list of bytes."""

    __slots__ = ("_at", "_data", "_whole")

    def __init__(self) -> None:
        self._data, self._at = b"", 0
        #: Those that are cut out already, the next one last; what is in `_data` comes after them.
        self._whole: list[list[bytes]] = []

    def feed(self, data: bytes) -> None:
        """More bytes."""
        rest = self._data[self._at :]
        if not rest and not self._whole:
            whole = _whole_commands(data)
            if whole is not None:
                self._whole, self._data, self._at = whole, b"", 0
                return
        self._data, self._at = rest + data, 0

    def next(self) -> list[bytes] | None:
        """The next whole command; None until more has arrived.

        Raises:
            ProtocolError: it does not begin as a command does.
        """
        if self._whole:
            return self._whole.pop()
        data, at = self._data, self._at
        if at == len(data):
            return None
        find = data.find
        end = find(b"\r\n", at)
        if end < 0:
            return None
        position = end + 2
        if data[at] != 0x2A:  # "*": anything else is an inline command
            self._at = position
            return data[at:end].split()
        fields, length = [], len(data)
        try:
            for _ in range(int(data[at + 1 : end])):
                end = find(b"\r\n", position)
                if end < 0:
                    return None
                if data[position] != 0x24:  # "$"
                    raise ProtocolError(f"expected '$', got '{chr(data[position])}'")
                start = end + 2
                position = start + int(data[position + 1 : end]) + 2
                if position > length:
                    return None
                fields.append(data[start : position - 2])
        except ValueError:
            raise ProtocolError("invalid bulk length") from None
        self._at = position
        return fields
