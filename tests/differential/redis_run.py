"""The Redis comparison: a case on the simulated server and on a real one, through redis-py's connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.connection import Connection

from tasksim.network._fakeredis import Store, _Keyspace
from tasksim.network._fakeredis_memory import Memory
from tasksim.network._fakeredis_peer import Peer
from tests.differential.cases import Case, Operation, Run
from tests.differential.redis_cases import BLOCKER, COMMANDS, PAUSE_MS, SUBSCRIBER
from tests.redis_scene import World

__all__ = ["MARKS", "PLANTS", "planted", "runner"]

#: The version of the real server.
VERSION = "7.0.15"
#: Replies whose order Redis leaves open.
_UNORDERED = ("SMEMBERS", "KEYS", "SUNION", "SINTER", "SDIFF", "SCAN", "PUBSUB", "HGETALL", "HKEYS", "HVALS")
#: Replies that tell what is left of a time to live.
_REMAINING = ("TTL", "PTTL", "LASTSAVE")


@dataclass
class Step:
    """What one operation led to: the answer, and what came to those who wait."""

    answer: Any = None
    came: dict[int, list[Any]] = field(default_factory=dict)


def _nothing() -> None:
    """A real server needs no time of ours."""


class Session:
    """The clients of one case."""

    def __init__(self, port: int, pause: Callable[[], None], settle: Callable[[], None] = _nothing) -> None:
        self.port, self.pause, self.settle = port, pause, settle
        self.connections: dict[int, Connection] = {}
        self.blocked, self.virtual = False, settle is not _nothing
        self.asked: dict[int, list[list[str]]] = {}

    def connection(self, number: int) -> Connection:
        found = self.connections.get(number)
        if found is None:
            protocol = 3 if number == 1 else 2
            found = Connection(host="localhost", port=self.port, protocol=protocol, socket_timeout=10)
            self.connections[number] = found
            found.connect()
        return found

    def close(self) -> None:
        for connection in self.connections.values():
            connection.disconnect()

    def run(self, operation: Operation, timed: bool) -> Step:
        """Do one thing, and read what came of it."""
        step = Step(getattr(self, "do_" + operation.kind)(operation))
        if timed:
            self.pause()
        if self.connections.keys() & {SUBSCRIBER, BLOCKER}:
            self.settle()
            for _ in range(2):  # the second one is of a later round of the server's loop: all else has been answered
                self.ask(99, ["PING"])
        for number in (SUBSCRIBER, BLOCKER):
            while number in self.connections and self.connections[number].can_read(0):
                step.came.setdefault(number, []).append(self.read(number, []))
                self.blocked = self.blocked and number != BLOCKER
        # Which of a client's patterns a message matches first is up to hashes.
        step.came = {number: sorted(came, key=repr) for number, came in step.came.items()}
        return step

    def ask(self, number: int, words: list[str]) -> Any:
        self.connection(number).send_command(*words)
        return self.read(number, words)

    def read(self, number: int, words: list[str]) -> Any:
        """The next reply, in a form that can be compared."""
        try:
            return plain(self.connection(number).read_response(), words)
        except redis.ResponseError as exc:
            return _error(exc)

    def do_command(self, op: Operation) -> Any:
        words = list(op.options["words"])
        queue = self.asked.setdefault(op.channel, [])
        answer = self.ask(op.channel, words)
        if answer == b"QUEUED":
            queue.append(words)
        elif words[0] in ("EXEC", "DISCARD"):
            if isinstance(answer, list) and len(answer) == len(queue):
                answer = [plain(one, asked) for one, asked in zip(answer, queue, strict=True)]
            queue.clear()
        return answer

    def do_memory(self, op: Operation) -> Any:
        return self.ask(97, ["CONFIG", "SET", "maxmemory", op.options["limit"]])

    def do_snapshot(self, op: Operation) -> Any:
        answer = self.ask(97, op.options["words"])
        # A real server takes it in the background; meanwhile it refuses to begin another one.
        while not self.virtual and b"rdb_bgsave_in_progress:1" in self.ask(97, ["INFO", "persistence"]):
            time.sleep(0.002)
        return answer

    def do_subscribe(self, op: Operation) -> Any:
        return self.ask(SUBSCRIBER, op.options["words"])

    def do_block(self, op: Operation) -> Any:
        if not self.blocked:
            self.connection(BLOCKER).send_command(*op.options["words"])
            self.blocked = True

    def do_reconnect(self, op: Operation) -> None:
        connection = self.connections.pop(op.channel, None)
        self.asked.pop(op.channel, None)
        if connection is not None:
            connection.disconnect()

    def values(self) -> list[Any]:
        """All that the server holds at the end."""
        found = []
        for database in ("0", "1"):
            self.ask(98, ["SELECT", database])
            for key in self.ask(98, ["KEYS", "*"]):
                name = key.decode()
                kind = self.ask(98, ["TYPE", name])
                words = {
                    b"string": ["GET", name], b"list": ["LRANGE", name, "0", "-1"], b"hash": ["HGETALL", name],
                    b"set": ["SMEMBERS", name], b"zset": ["ZRANGE", name, "0", "-1", "WITHSCORES"],
                }[kind]  # fmt: skip
                found.append((database, name, self.ask(98, words), self.ask(98, ["TTL", name])))
        return found


def _error(exc: redis.ResponseError) -> str:
    # Where in a script it happened is told by real servers only.
    return f"{type(exc).__name__}: {str(exc).split(' script: ', 1)[0]}"


def plain(value: Any, words: list[str]) -> Any:
    """A reply without what two servers may give differently."""
    command = words[0] if words else ""
    if isinstance(value, redis.ResponseError):
        return _error(value)
    if command in _REMAINING and isinstance(value, int) and value > 0:
        return "some time"
    if command in _UNORDERED and isinstance(value, (list, set)):
        if command == "HGETALL" and isinstance(value, list) and len(value) % 2 == 0:
            value = list(zip(value[::2], value[1::2], strict=True))
        return sorted((plain(one, words) for one in value), key=repr)
    if isinstance(value, list):
        return [plain(one, []) for one in value]
    if isinstance(value, dict):
        return sorted(value.items())
    return value


def run_model(case: Case) -> tuple[list[Step], list[Any]]:
    """A case on a simulated server of its own."""
    world = World()
    world.redis.version = VERSION
    world.install()
    try:
        session = Session(6379, lambda: world.sleep(PAUSE_MS / 1000), lambda: world.sleep(0))
        steps = [session.run(operation, case.timed) for operation in case.operations]
        return steps, session.values()
    finally:
        world.close()


def run_real(port: int, case: Case, expected: list[Step], values: list[Any]) -> str | None:
    """The same on the real server, emptied before; gives the first difference."""
    session = Session(port, lambda: time.sleep(PAUSE_MS / 1000))
    session.ask(97, ["CONFIG", "SET", "maxmemory", "0"])
    session.ask(97, ["FLUSHALL"])
    session.ask(97, ["SCRIPT", "FLUSH"])
    try:
        for number, (operation, wanted) in enumerate(zip(case.operations, expected, strict=True)):
            step = session.run(operation, case.timed)
            if repr(step) != repr(wanted):
                return f"step {number}, {operation!r}:\n  real:  {step}\n  model: {wanted}"
        found = session.values()
        return None if repr(found) == repr(values) else f"at the end:\n  real:  {found}\n  model: {values}"
    finally:
        session.close()


# --- marks

_RULES = (
    "a blocked client is served", "a message arrives", "a watched key changed", "an error in a transaction",
    "wrong type", "BLPOP", "BRPOP", "BLMOVE", "BZPOPMIN", "PSUBSCRIBE", "SUBSCRIBE", "PUNSUBSCRIBE", "UNSUBSCRIBE",
    "reconnect", "a transaction", "out of memory",
    "a transaction without memory", "something expires", "protocol 3", "a script fails",
)  # fmt: skip
MARKS = (*COMMANDS, *_RULES)


def marks_of(case: Case, steps: list[Step]) -> set[str]:
    """Which commands and rules occurred."""
    found = {"something expires"} if case.timed else set()
    for operation, step in zip(case.operations, steps, strict=True):
        words, answer = operation.options.get("words", [""]), step.answer
        found.update({operation.options.get("name", ""), words[0], operation.kind})
        if operation.channel == 1:
            found.add("protocol 3")
        if BLOCKER in step.came and operation.kind != "block":
            found.add("a blocked client is served")
        if SUBSCRIBER in step.came:
            found.add("a message arrives")
        if words[0] == "EXEC":
            found.update(["a watched key changed"] * (answer is None) + ["a transaction"] * isinstance(answer, list))
        if isinstance(answer, str):
            found.update(["out of memory"] * ("OutOfMemory" in answer))
            found.update(["a transaction without memory"] * ("because of: OOM" in answer))
            found.update(
                ["wrong type"] * ("WRONGTYPE" in answer)
                + ["an error in a transaction"] * (answer.startswith("ExecAbort"))
            )
            found.update(["a script fails"] * (words[0] == "EVAL"))
    return found & set(MARKS)


@contextmanager
def runner(port: int) -> Iterator[Run]:
    """Runs a case on a simulated server of its own and on the real one at this port."""

    def run(case: Case) -> tuple[set[str], str | None]:
        steps, values = run_model(case)
        return marks_of(case, steps), run_real(port, case, steps, values)

    yield run


# --- wrong rules


def _never_served(store: Store) -> None:
    store.touched.clear()


def _push_right(peer: Any, key: Any, *values: bytes) -> int:
    return int(peer.rpush(key, *values))


def _no_watch(keyspace: Any, key: bytes) -> None:
    keyspace._store.writes += 1
    keyspace._store.touched.add(key)


_look = Memory.look

#: What is replaced, and by what: a rule that is not Redis'.
PLANTS: dict[str, tuple[Any, str, Any]] = {
    "a blocked client is never served": (Store, "serve", _never_served),
    "LPUSH pushes to the right": (Peer, "lpush", _push_right),
    "nobody is told of a watched key": (_Keyspace, "notify_watch", _no_watch),
    "LPUSH needs no memory": (
        Memory,
        "look",
        lambda memory, name, queued: name == "lpush" or _look(memory, name, queued),
    ),
    "a transaction with a mistake is run": (Peer, "_refused", lambda peer, name, exc, ran: exc),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The simulated server with this wrong rule."""
    owner, attribute, wrong = PLANTS[name]
    right = getattr(owner, attribute)
    setattr(owner, attribute, wrong)
    try:
        yield
    finally:
        setattr(owner, attribute, right)
