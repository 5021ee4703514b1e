"""The server's side of Redis' wire protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasksim.network._resp import Commands, ProtocolError

#: Fields in which lengths, line ends and heads of commands are frequent.
FIELDS = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"$1", b"$2\r\n", b"*1", b"\r\n*0", b"a", b"", b"\x00\xff"]), max_size=4
)
COMMANDS = st.lists(st.lists(FIELDS.map(b"".join), min_size=1, max_size=4), max_size=5)


def packed(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in command)


def all_of(commands: Commands) -> list[list[bytes]]:
    found = []
    while (one := commands.next()) is not None:
        found.append(one)
    return found


@given(COMMANDS, st.data())
def test_commands_are_what_was_sent_however_it_arrives(sent: list[list[bytes]], data: st.DataObject) -> None:
    stream = b"".join(map(packed, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    read_at_once = data.draw(st.lists(st.booleans(), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    commands, found = Commands(), []
    for start, end, read in zip([0, *cuts], [*cuts, len(stream)], read_at_once, strict=True):
        commands.feed(stream[start:end])
        if read:
            found += all_of(commands)
    assert found + all_of(commands) == sent


@pytest.mark.parametrize("arrives", [b"PING\r\n*1\r\n$4\r\nECHO\r\n", b"PING\r\n\r\n*1\r\n$4\r\nECHO\r\n"])
def test_a_line_without_a_length_is_a_command_in_words(arrives: bytes) -> None:
    commands = Commands()
    commands.feed(arrives)
    assert [one for one in all_of(commands) if one] == [[b"PING"], [b"ECHO"]]


@pytest.mark.parametrize(
    ("arrives", "message"),
    [(b"*1\r\n:4\r\nPING\r\n", "expected '$', got ':'"), (b"*1\r\n$four\r\nPING\r\n", "invalid bulk length")],
)
def test_what_is_no_command_is_refused_after_the_commands_before_it(arrives: bytes, message: str) -> None:
    commands = Commands()
    commands.feed(packed([b"PING"]) + arrives)
    assert commands.next() == [b"PING"]
    with pytest.raises(ProtocolError) as caught:
        commands.next()
    assert str(caught.value) == message
