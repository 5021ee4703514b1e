"""What a full queue does with those who publish to it (docs "maxlength", "Overflow behaviour")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasksim.broker.amqp.queue import Queue

__all__ = ["Publishers"]

#: A quorum queue lets its publishers go on at four fifths of its limit (rabbit_fifo.hrl: LOW_LIMIT).
LOW = 0.8


class Publishers:
    """Who may publish to a quorum queue with reject-publish (rabbit_fifo: evaluate_limit, register_enqueuer).

    It takes a message first and looks afterwards whether it is too many. If so it tells all who have published so far
    (channels, and queues that dead-letter) to stop, until it has gone below four fifths of the limit.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._known: dict[object, None] = {}
        self.stopped: dict[object, None] = {}

    def admits(self, publisher: object) -> bool:
        """May this one publish? One that is new to the queue may not while it is over its limit."""
        if publisher not in self._known:
            self._known[publisher] = None
            if self._queue.too_many():
                self.stopped[publisher] = None
        return publisher not in self.stopped

    def look(self) -> None:
        """The queue has become longer."""
        if self._queue.too_many():
            self.stopped.update(self._known)

    def look_again(self) -> None:
        """The queue has become shorter."""
        if self.stopped and self._queue.is_below(LOW):
            self.stopped.clear()
