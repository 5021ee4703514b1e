"""What becomes of task messages on Redis, for the trace.

Redis knows lists and hashes, not messages: what a message is, is kombu's affair (kombu.transport.redis). A message is
JSON in a list; its `delivery_tag` stays with it for good, and is how it is known here. A delivered one lies in the hash
`unacked` and the sorted set `unacked_index` until it is acknowledged; whoever finds it there after the visibility
timeout puts it back.

So what clients do (publish, take, acknowledge, reject) is seen in kombu's methods, which are always called; what the
server does (a message is in a queue, is back in it, is lost) is seen at the server, at the time when it happens there.
Messages without a task (remote control, events) are not recorded.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from tasksim.broker.snapshot import QueueRow
from tasksim.events import (
    Acked,
    Delivered,
    Dropped,
    Event,
    Often,
    Published,
    Queued,
    Redelivered,
    Rejected,
    Requeued,
)
from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import Process
from tasksim.message import Serials, count_of, due_of, text_of
from tasksim.network._parts import Held
from tasksim.network.redis import RedisServer, RedisServers

__all__ = ["RedisWatch"]

#: Why a message is gone that was popped and was on its way into the hash of unacknowledged ones.
UNNOTED = "popped and never noted"
_TAG = b'"delivery_tag": "'


class _Known:
    """A message that was seen; `queue` is where it was put last."""

    __slots__ = ("delivered", "number", "prefix", "queue", "sep", "task", "task_id")

    def __init__(self, number: int, headers: dict[str, Any], channel: Any) -> None:
        self.number = number
        self.task_id, self.task = text_of(headers.get("id")), text_of(headers.get("task"))
        self.sep: str = channel.sep
        self.prefix: str = channel.global_keyprefix
        self.queue = ""
        self.delivered = False


class _Consumer:
    """The queues that one channel of one process consumes from; found out when first asked for."""

    __slots__ = ("_keys", "channel", "database", "process", "server", "unacked")

    def __init__(self, channel: Any, process: Process, servers: RedisServers) -> None:
        self.channel, self.process = channel, process
        pool = channel.client.connection_pool
        address = pool.connection_kwargs
        path = address.get("path")
        if hasattr(pool, "get_master_address"):  # found by a sentinel
            self.server: RedisServer = servers.at(*pool.get_master_address())
        else:
            self.server = servers.at(path) if path else servers.at(address["host"], int(address["port"]))
        self.database = int(address.get("db") or 0)
        self.unacked = f"{channel.global_keyprefix}{channel.unacked_key}".encode() if channel.ack_emulation else b""
        self._keys: list[bytes] | None = None

    def changed(self) -> None:
        """It consumes from other queues than before."""
        self._keys = None

    def queues(self) -> list[bytes]:
        """The lists that BRPOP names."""
        if self._keys is None:
            channel = self.channel
            self._keys = [
                f"{channel.global_keyprefix}{channel._q_for_pri(queue, step)}".encode()
                for queue in channel.active_queues
                for step in channel.priority_steps
            ]
        return self._keys


def _handed_over(channel: Any) -> bool:
    """Has a server answered its BRPOP, and it has not read that yet?

    Before kombu 5.7 an answer may lie there for up to a second while the prefetch leaves no room, in no server's data.
    """
    file = getattr(getattr(channel._in_poll, "_sock", None), "file", None)
    return file is not None and bool(file.buffer)


class RedisWatch:
    """Sees the messages of one simulation on Redis.

    Args:
        servers: told to report what they put into lists and what they lose.
        deliveries: takes the latest delivery of each task's message, by task id.

    Attributes:
        keep: takes what was published, as it came: the message's number and the message.
    """

    def __init__(
        self,
        kernel: Kernel,
        record: Callable[[Event], None],
        now: Callable[[], float],
        serials: Serials,
        servers: RedisServers,
        deliveries: dict[str, int] | None = None,
    ) -> None:
        self._kernel, self._record, self._now, self._serials = kernel, record, now, serials
        self.record_often: Callable[[Often], None] = record
        self.keep: Callable[[tuple[int, Any]], None] = lambda _: None
        self._deliveries = {} if deliveries is None else deliveries
        self._servers = servers
        self._known: dict[str, _Known] = {}
        self._spellings: dict[tuple[str, str], None] = {("", "\x06\x16"): None}  # prefixes and separators
        self._in_hand: dict[Process, list[str]] = {}  # tags of what was popped and is put down nowhere yet
        self._held: dict[tuple[Process, str], deque[tuple[int, str]]] = {}
        self._reasons: dict[Process, str] = {}
        self._consumers: dict[Any, _Consumer] = {}
        self._channels: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._counted: tuple[int, tuple[int, int]] = (-1, (0, 0))
        servers.hooks.pushed = self._pushed
        servers.hooks.gone = self._gone
        servers.hooks.replaced = self._replaced
        servers.hooks.died = self._lose

    # --- what clients do

    def published(self, channel: Any, message: Any, exchange: str | None, routing_key: str | None) -> None:
        """A message got its tag: it is about to be put into its queues."""
        headers = message["headers"]
        known = _Known(self._serials.message(), headers, channel)
        self._spellings[known.prefix, known.sep] = None
        self._known[message["properties"]["delivery_tag"]] = known
        self.keep((known.number, message))
        now = self._now()
        self.record_often(
            Published(
                now,
                self._kernel.current.name,
                known.number,
                exchange or "",
                routing_key or "",
                known.task_id,
                known.task,
                count_of(headers.get("retries")),
                text_of(headers.get("eta")),
                due_of(headers.get("eta"), now, time.time()),
            )
        )

    def delivered(self, channel: Any, message: Any, queue: str, consuming: bool = True) -> None:
        """A process took a message out of a queue: a channel that consumes from it, or one that fetched it."""
        headers, properties = message["headers"], message["properties"]
        tag = properties["delivery_tag"]
        known = self._known.get(tag)
        if known is None:  # put there by somebody else than kombu
            known = self._known[tag] = _Known(self._serials.message(), headers, channel)
        known.delivered = True
        delivery = self._serials.delivery()
        process = self._kernel.current
        self._held.setdefault((process, tag), deque()).append((delivery, queue))
        again = bool(headers.get("redelivered") or properties["delivery_info"].get("redelivered"))
        if known.task_id is not None:
            self._deliveries[known.task_id] = delivery
        what = known.number, delivery, queue, known.task_id, known.task, again
        window = self._window(channel) if consuming else (None, 0)
        if again:
            self._record(Redelivered(self._now(), process.name, *what, *window))
        else:
            self.record_often(Delivered(self._now(), process.name, *what, *window))

    def in_hand(self, function: Callable[..., Any], transport: Any, message: Any, queue: str) -> Any:
        """A message that was popped is in no server until its consumer has put it down as unacknowledged.

        That may take a while: it may need a new connection for it, and a sentinel that tells where to.
        """
        process, tag = self._kernel.current, message["properties"]["delivery_tag"]
        self._in_hand.setdefault(process, []).append(tag)
        try:
            return function(transport, message, queue)
        except Exception:
            if tag in self._in_hand.get(process, ()):
                self._lose(process)
            raise
        finally:
            self.noted(tag)

    def noted(self, tag: str) -> None:
        """The running process has put it down as unacknowledged, or needs not."""
        process = self._kernel.current
        hand = self._in_hand.get(process)
        if hand is not None and tag in hand:
            hand.remove(tag)
            if not hand:
                del self._in_hand[process]

    def _lose(self, process: Process) -> None:
        """A process has ended or failed with messages in its hand: they are lost unless a server knows of them."""
        tags = self._in_hand.pop(process, None)
        if not tags:
            return
        there = self._places(one for server in self._servers.all() for one in server.store.held())
        for tag in tags:
            known = self._known[tag]
            if known not in there and (process, tag) in self._held:
                del self._held[process, tag]
                self._record(Dropped(self._now(), "broker", known.number, known.queue, UNNOTED, known.task_id))

    def _window(self, channel: Any) -> tuple[int, int]:
        """The channel's number, and how many unacknowledged deliveries it may hold."""
        serial = self._channels.get(channel)
        if serial is None:
            serial = self._channels[channel] = self._serials.channel()
        return serial, channel.qos.prefetch_count

    def settled(self, tag: str, requeue: bool | None) -> None:
        """The running process acknowledged (`requeue` is None) or rejected what it was given first by this tag."""
        known = self._known.get(tag)
        process = self._kernel.current
        held = self._held.get((process, tag))
        if known is None or not held:
            return
        delivery, queue = held.popleft()
        if not held:
            del self._held[process, tag]
        now, name = self._now(), process.name
        if requeue is None:
            self.record_often(Acked(now, name, known.number, delivery, queue, known.task_id))
        else:
            self._record(Rejected(now, name, known.number, delivery, queue, requeue, known.task_id))

    def putting_back(self, reason: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of kombu that may put messages back into their queues."""
        process = self._kernel.current
        outer = self._reasons.get(process)
        self._reasons[process] = outer or reason
        try:
            return function(*arguments, **options)
        finally:
            if outer is None:
                del self._reasons[process]

    # --- what servers do

    def _find(self, value: bytes) -> _Known | None:
        start = value.find(_TAG)
        if start < 0:
            return None
        start += len(_TAG)
        return self._known.get(value[start : value.find(b'"', start)].decode(errors="replace"))

    def _queue_of(self, known: _Known, key: bytes) -> str:
        return key.decode(errors="replace").removeprefix(known.prefix).rsplit(known.sep, 1)[0]

    def _pushed(self, owner: Process, key: bytes, values: Iterable[bytes]) -> None:
        for value in values:
            known = self._find(value)
            if known is None:
                continue
            queue = known.queue = self._queue_of(known, key)
            reason = self._reasons.get(owner)
            now, name = self._now(), owner.name
            if reason is None and not known.delivered:
                self._record(Queued(now, name, known.number, queue, known.task_id))
            else:
                self._record(Requeued(now, name, known.number, queue, reason or "channel closed", known.task_id))

    def _gone(self, values: Iterable[bytes], _: bytes, why: str) -> None:
        for value in values:
            known = self._find(value)
            if known is not None:
                self._record(Dropped(self._now(), "broker", known.number, known.queue, why, known.task_id))

    def _replaced(self, before: Iterable[Held], after: Iterable[Held], why: str) -> None:
        """A server has other data than before: what is not there any more is lost, what is there again is ready."""
        was, now = self._places(before), self._places(after)
        for known in was:
            if known not in now:
                self._record(Dropped(self._now(), "broker", known.number, known.queue, why, known.task_id))
        for known, keys in now.items():
            fresh = Counter(keys) - Counter(was.get(known, ()))
            for key in fresh.elements():
                if key is not None:
                    known.queue = self._queue_of(known, key)
                    self._record(Requeued(self._now(), "broker", known.number, known.queue, why, known.task_id))

    def _places(self, held: Iterable[Held]) -> dict[_Known, list[bytes | None]]:
        """Of each message the lists that it lies in; None stands for a hash."""
        places: dict[_Known, list[bytes | None]] = {}
        for one in held:
            known = self._find(one.value)
            if known is not None:
                places.setdefault(known, []).append(one.key if one.listed else None)
        return places

    # --- what waits

    def consumes(self, channel: Any) -> None:
        """A channel began or ceased to consume from a queue."""
        consumer = self._consumers.get(channel)
        if consumer is None:
            process = self._kernel.current
            # A pool process reads the results that a body waits for. While that runs nothing is idle, and what comes
            # later nobody will read.
            if process is not self._kernel.driver and "/" not in process.name:
                self._consumers[channel] = _Consumer(channel, process, self._servers)
        else:
            consumer.changed()
        self._counted = (-1, (0, 0))

    def waiting(self) -> tuple[int, int]:
        """Messages that are ready for a living process (not the test's own), and those that are not acknowledged.

        Counted anew only when something was written, a process that consumes has ended, or queues may expire.
        """
        gone = [channel for channel, one in self._consumers.items() if one.process.dead or channel.closed]
        for channel in gone:
            del self._consumers[channel]
        writes = sum(server.store.writes for server in self._servers.all())
        if gone or self._counted[0] != writes:
            by_itself = any(getattr(one.channel, "_expires", None) for one in self._consumers.values())
            self._counted = (-1 if by_itself else writes, self._count())
        ready, unacked = self._counted[1]
        unacked += sum(_handed_over(channel) for channel in self._consumers)
        return ready, unacked + sum(not process.dead for process in self._in_hand)

    def _name_of(self, key: str) -> str:
        """The queue of a list, by what channels have shown of their prefixes and of what stands before a priority."""
        prefix = max((prefix for prefix, _ in self._spellings if key.startswith(prefix)), key=len, default="")
        name = key.removeprefix(prefix)
        for _, separator in self._spellings:
            queue, found, priority = name.rpartition(separator)
            if found and priority.isdigit():
                return queue
        return name

    def rows(self) -> dict[str, QueueRow]:
        """The queues of all servers by name: those that hold messages and those that a process consumes from."""
        ready: Counter[str] = Counter()
        unacked: Counter[str] = Counter()
        consumers: Counter[str] = Counter()
        for one in self._consumers.values():
            self._spellings[one.channel.global_keyprefix, one.channel.sep] = None
            consumers.update(one.channel.active_queues)
        for server in self._servers.all():
            for database in server.databases():
                for key, length in server.lengths(database).items():
                    ready[self._name_of(key)] += length
                for values in server.store.hashes(database).values():
                    unacked.update(known.queue for known in map(self._find, values) if known is not None)
        names = sorted({*ready, *unacked, *consumers})
        return {name: QueueRow(name, ready[name], unacked[name], consumers[name]) for name in names}

    def _count(self) -> tuple[int, int]:
        lists, hashes = {}, {}
        current = self._servers.all()
        for one in self._consumers.values():
            if one.server not in current:
                continue  # another has taken its place: nobody can reach what it held
            size, database = one.server.store.size, one.database
            for key in one.queues():
                lists[one.server, database, key] = size(database, key)
            if one.unacked:
                hashes[one.server, database, one.unacked] = size(database, one.unacked)
        return sum(lists.values()), sum(hashes.values())
