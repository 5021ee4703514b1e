"""The messages of a queue that wait, in the order in which they will go out."""

from __future__ import annotations

from collections import deque

from tasksim.message import Message

__all__ = ["Ready"]


class Ready:
    """Messages in order: by level, within a level by position.

    Levels are priorities, the highest first (docs "priority"): one for each priority that the queue knows. A quorum
    queue has two levels for another purpose: what came back goes out before what never went (rabbit_fifo, "returns").
    Its own two priorities (since 4.0) are not modelled.
    """

    __slots__ = ("_levels", "_position", "_priorities", "_returns")

    def __init__(self, priorities: int, returns_first: bool) -> None:
        self._priorities = 0 if returns_first else priorities
        self._returns = returns_first
        self._levels: list[deque[Message]] = [deque() for _ in range(2 if returns_first else priorities + 1)]
        self._position = 0

    def _level(self, message: Message) -> deque[Message]:
        if not self._priorities:
            return self._levels[-1]
        priority = message.properties.get("priority") or 0
        return self._levels[max(self._priorities - priority, 0)]

    def put(self, message: Message) -> None:
        """A new message, behind all of its level."""
        self._position += 1
        message.position = self._position
        self._level(message).append(message)

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
        for level in self._levels:
            if level:
                return level.popleft()
        raise LookupError("no message is ready")

    def count_bytes(self) -> int:
        """The size of all bodies; counted when asked for, as few queues have a limit in bytes."""
        return sum(len(message.body) for level in self._levels for message in level)

    def next_end_ns(self) -> int | None:
        """When the first of those at the head of their level expires; None if none does."""
        ends = [level[0].expires_ns for level in self._levels if level]
        return min((end for end in ends if end is not None), default=None)

    def pop_expired(self, now_ns: int) -> Message | None:
        """A message at the head of a level whose time has ended (docs "ttl", "Caveats": others stay), or None."""
        for level in self._levels:
            if level:
                end_ns = level[0].expires_ns
                if end_ns is not None and end_ns <= now_ns:
                    return level.popleft()
        return None

    def pop_transient(self) -> list[Message]:
        """Take out what its publisher did not want to be persistent."""
        gone: list[Message] = []
        for level in self._levels:
            gone.extend(message for message in level if not message.persistent)
            kept = [message for message in level if message.persistent]
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
