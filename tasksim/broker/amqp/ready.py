"""The messages of a queue that wait, in the order in which they will go out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tasksim.message import Message

__all__ = ["Ready"]


#: Since 4.0 a quorum queue gives this many messages of high priority for each normal one (rabbit_fifo_q: WEIGHT), and
#: these priorities are high.
WEIGHT = 2
HIGH = 5


class Ready:
    """Messages in order: by level, within a level by position.

    Levels are priorities, the highest first (docs "priority"): one for each priority that the queue knows. A quorum
    queue has levels for another purpose: what came back goes out before what never went (rabbit_fifo, "returns"). Since
    4.0 it has two priorities, high and normal, of which neither starves the other (docs "quorum-queues", "Priorities").
    """

    __slots__ = ("_levels", "_position", "_priorities", "_returns", "_turn", "_two")

    def __init__(self, priorities: int, returns_first: bool, two_priorities: bool = False) -> None:
        self._priorities = 0 if returns_first else priorities
        self._returns, self._two, self._turn = returns_first, two_priorities, 0
        levels = 2 + two_priorities if returns_first else priorities + 1
        self._levels: list[deque[Message]] = [deque() for _ in range(levels)]
        self._position = 0

    def _level(self, message: Message) -> deque[Message]:
        if self._two:
            return self._levels[1 if (message.properties.get("priority") or 0) >= HIGH else 2]
        if not self._priorities:
            return self._levels[-1]
        priority = message.properties.get("priority") or 0
        return self._levels[max(self._priorities - priority, 0)]

    def _head(self) -> deque[Message] | None:
        """The level whose first message is the next one."""
        levels = self._levels
        if self._two and self._turn == WEIGHT and levels[2] and not levels[0]:
            return levels[2]
        return next((level for level in levels if level), None)

    def _out(self, level: deque[Message]) -> Message:
        if self._two and level is not self._levels[0]:
            self._turn = 0 if self._turn == WEIGHT else self._turn + 1
        return level.popleft()

    def put(self, message: Message) -> None:
        """A new message, behind all of its level."""
        self._position += 1
        message.position = self._position
        (self._levels[0] if len(self._levels) == 1 else self._level(message)).append(message)

    def put_back(self, messages: list[Message]) -> None:
        """Messages that were out: to their old places (docs "confirms": the original position if possible)."""
        if self._returns:
            self._levels[0].extend(messages)
        elif not self._priorities:
            _merge(self._levels[0], messages)
        else:
            levels: dict[int, list[Message]] = {}
            for message in messages:
                levels.setdefault(id(self._level(message)), []).append(message)
            for back in levels.values():
                _merge(self._level(back[0]), back)

    def pop(self) -> Message:
        """The next one; there must be one."""
        if len(self._levels) == 1:
            return self._levels[0].popleft()
        level = self._head()
        if level is None:
            raise LookupError("no message is ready")
        return self._out(level)

    def count_bytes(self) -> int:
        """The size of all bodies; counted when asked for, as few queues have a limit in bytes."""
        return sum(len(message.body) for level in self._levels for message in level)

    def next_end_ns(self) -> int | None:
        """When the one at the head expires; None if it does not."""
        level = self._head()
        return None if level is None else level[0].expires_ns

    def pop_expired(self, now_ns: int) -> Message | None:
        """The message at the head if its time has ended (docs "ttl", "Caveats": others stay), else None."""
        level = self._head()
        end_ns = None if level is None else level[0].expires_ns
        return self._out(level) if level is not None and end_ns is not None and end_ns <= now_ns else None

    def pop_all(self, which: Callable[[Message], bool]) -> list[Message]:
        """Take out all of a kind."""
        gone: list[Message] = []
        for level in self._levels:
            gone.extend(message for message in level if which(message))
            kept = [message for message in level if not which(message)]
            level.clear()
            level.extend(kept)
        return gone


def _merge(level: deque[Message], back: list[Message]) -> None:
    # What comes back stands nearly always before all that is ready, so only the head is looked at.
    if len(back) > 1:
        back = sorted(back, key=_position)
    last = back[-1].position
    before = []
    while level and level[0].position < last:
        before.append(level.popleft())
    if before:
        back = sorted([*before, *back], key=_position)
    level.extendleft(reversed(back))


def _position(message: Message) -> int:
    return message.position
