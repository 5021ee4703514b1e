"""Small parts of the Redis server and its clients that know neither fakeredis nor redis-py."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import Any, NamedTuple

from tasksim.kernel.agenda import Entry
from tasksim.kernel.choice import Stream
from tasksim.kernel.process import Process

#: Why a value is gone that was popped for a client and never read.
UNREAD = "popped and never read"


class OrderedSet(MutableSet[Any]):
    """A set in order of insertion: what is done for each member must not follow hashes or memory addresses."""

    __slots__ = ("_members",)

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._members = dict.fromkeys(members)

    def __contains__(self, one: object) -> bool:
        return one in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, one: Any) -> None:
        self._members[one] = None

    def discard(self, one: Any) -> None:
        self._members.pop(one, None)


class Held(NamedTuple):
    """One value in a list, or in a hash."""

    key: bytes
    value: bytes
    listed: bool


class Hooks:
    """What a server tells whoever watches it, in the middle of what it does.

    Attributes:
        pushed: values were put into a list: (process of the client, key, values).
        gone: values were deleted unread, or popped for a client that never read them: (values, key, why).
        replaced: all data was replaced: (what was there, what is there, why).
        died: the process of a client has ended.
    """

    __slots__ = ("died", "gone", "pushed", "replaced")

    def __init__(self) -> None:
        self.pushed: Callable[[Process, bytes, Iterable[bytes]], None] = lambda *_: None
        self.gone: Callable[[Iterable[bytes], bytes, str], None] = lambda *_: None
        self.replaced: Callable[[list[Held], list[Held], str], None] = lambda *_: None
        self.died: Callable[[Process], None] = lambda _: None


class NoLock:
    """There is one thread, and no command parks half-way."""

    def __enter__(self) -> NoLock:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""


class Blocked:
    """A client that waits in a command.

    Attributes:
        attempt: what it tries again.
        keys: of which keys a change matters to it; None means any.
        shape: makes the reply.
        timer: its deadline.
    """

    __slots__ = ("attempt", "keys", "shape", "timer")

    def __init__(self, attempt: Callable[[bool], Any], shape: Callable[[Any], Any] | None, timer: Entry | None) -> None:
        self.attempt, self.shape, self.timer = attempt, shape, timer
        self.keys = keys_of(attempt)


def keys_of(attempt: Callable[[bool], Any]) -> frozenset[bytes] | None:
    """The keys that a blocked command looks at, as far as its bound arguments tell."""
    arguments = attempt.args if isinstance(attempt, functools.partial) else ()
    if arguments and isinstance(arguments[0], bytes):
        return frozenset(one for one in arguments if isinstance(one, bytes))
    if arguments and isinstance(arguments[0], (list, tuple)) and all(isinstance(one, bytes) for one in arguments[0]):
        return frozenset(arguments[0])
    return None


class Draws(random.Random):
    """The face of the module `random`, over a stream of the simulation's chance."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(0)
        self._stream = stream

    def random(self) -> float:
        return self._stream.bits(53) * 2.0**-53

    def getrandbits(self, k: int, /) -> int:
        return self._stream.bits(k)
