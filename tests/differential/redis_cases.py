"""What is drawn: Redis commands of the kind that kombu, Celery and applications use, as plain data.

Client 3 only subscribes, client 4 only blocks; the others run one command after the other, each on a connection of its
own, with transactions half-way in each other's way.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.differential.cases import Case, Operation

__all__ = ["BLOCKER", "CLIENTS", "COMMANDS", "PAUSE_MS", "SUBSCRIBER", "draw_case"]

CLIENTS, SUBSCRIBER, BLOCKER = 3, 3, 4
#: Milliseconds of a time to live that is over before the next step, and of the pause in it.
SHORT_MS, PAUSE_MS = 10, 30

_VALUES = ("", "a", "b", "c", "10", "-3", "1.5", "x" * 70, '{"task": 1}')
_NUMBERS = ("1", "2", "-1", "0", "10", "1.5", "x")
_MEMBERS = ("a", "b", "c", "d", "1", "2")
_SCORES = ("1", "2", "2", "3.5", "-1", "1700000000.25", "inf")
_BOUNDS = ("-inf", "+inf", "1", "(1", "2", "(2", "3.5")
_INDEXES = ("0", "1", "-1", "-2", "2", "5")
_SCRIPTS = (
    "return redis.call('GET', KEYS[1])",
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end",
    "redis.call('LPUSH', KEYS[1], ARGV[1]) return redis.call('LLEN', KEYS[1])",
    "return {1, 'two', false, {3, 'four'}}",
    "return redis.call('TYPE', KEYS[1])",
    "redis.call('PEXPIRE', KEYS[1], 100000) return redis.status_reply('FINE')",
    "return redis.error_reply('NO luck')",
    "local n = redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[1]) return n",
    "return tonumber(ARGV[1])",
)
#: Right and wrong; what is right changes nothing that a case could see.
_SETTINGS = (
    ["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    ["CONFIG", "SET", "maxmemory-policy", "oldest"],
    ["CONFIG", "SET", "maxmemory", "lots"],
    ["CONFIG", "SET", "appendfsync", "sometimes"],
    ["CONFIG", "SET", "save", "1"],
    ["CONFIG", "SET", "appendonly", "maybe"],
    ["CONFIG", "SET", "maxmemory", "0", "databases", "3"],
    ["CONFIG", "SET", "maxmemory"],
)


class _Drawing:
    """One case while it is drawn."""

    def __init__(self, chance: random.Random, timed: bool) -> None:
        self.random, self.timed = chance, timed

    def one_in(self, number: int) -> bool:
        """True once in so many times."""
        return self.random.randrange(number) == 0

    def key(self, kind: str) -> str:
        """A key of this kind of value; now and then of another."""
        return f"{self.random.choice('lshzk') if self.one_in(12) else kind}{self.random.randrange(2)}"

    def pick(self, values: tuple[str, ...], most: int = 1) -> list[str]:
        """Some values."""
        return [self.random.choice(values) for _ in range(self.random.randint(1, most))]

    # --- arguments of commands that have options

    def set(self) -> list[str]:
        """SET."""
        chance = self.random
        life = ["PX", str(SHORT_MS)] if self.timed else chance.choice(([], ["EX", "100"], ["PX", "90000"], ["KEEPTTL"]))
        words = ["SET", self.key("k"), chance.choice(_VALUES), *(life if self.one_in(2) else [])]
        return words + chance.choice(([], [], ["NX"], ["XX"], ["GET"]))

    def zadd(self) -> list[str]:
        """ZADD."""
        chance = self.random
        flags = chance.choice(
            ([], [], [], ["NX"], ["XX"], ["GT"], ["LT"], ["CH"], ["XX", "CH"], ["NX", "GT"], ["INCR"])
        )
        pairs = [
            word
            for _ in range(1 if self.one_in(2) else 2)
            for word in (chance.choice(_SCORES), chance.choice(_MEMBERS))
        ]
        return ["ZADD", self.key("z"), *flags, *pairs]

    def zrange(self) -> list[str]:
        """ZRANGE and its elder relatives."""
        chance, key = self.random, self.key("z")
        scores = ["WITHSCORES"] if self.one_in(2) else []
        bounds = [chance.choice(_BOUNDS), chance.choice(_BOUNDS)]
        limit = ["LIMIT", chance.choice(("0", "1")), chance.choice(("1", "2", "-1"))] if self.one_in(2) else []
        return chance.choice(
            (
                ["ZRANGE", key, chance.choice(_INDEXES), chance.choice(_INDEXES), *scores],
                ["ZRANGE", key, *bounds, "BYSCORE", *limit, *scores],
                ["ZRANGE", key, *bounds, "BYSCORE", "REV", *limit, *scores],
                ["ZRANGEBYSCORE", key, *bounds, *scores, *limit],
                ["ZREVRANGEBYSCORE", key, *bounds, *scores, *limit],
                ["ZREVRANGE", key, "0", "-1", *scores],
            )
        )

    def expire(self) -> list[str]:
        """EXPIRE and PEXPIRE."""
        chance, key = self.random, self.key(self.random.choice("lshzk"))
        if self.timed:
            return ["PEXPIRE", key, str(SHORT_MS)]
        flags = chance.choice(([], [], ["NX"], ["XX"], ["GT"], ["LT"]))
        return [*chance.choice((["EXPIRE", key, "100"], ["PEXPIRE", key, "200000"], ["EXPIRE", key, "-1"])), *flags]

    def script(self) -> list[str]:
        """EVAL, or EVALSHA of what may not be there."""
        key, value = self.key(self.random.choice("lkz")), self.random.choice(_VALUES)
        return ["EVAL", self.random.choice(_SCRIPTS), "1", key, value]

    def hset(self) -> list[str]:
        """HSET."""
        return [
            "HSET",
            self.key("h"),
            *(word for one in self.pick(_MEMBERS, 2) for word in (one, self.random.choice(_VALUES))),
        ]

    def move(self) -> list[str]:
        """Between lists."""
        ends = [self.random.choice(("LEFT", "RIGHT")), self.random.choice(("LEFT", "RIGHT"))]
        two = [self.key("l"), self.key("l")]
        return ["RPOPLPUSH", *two] if self.one_in(3) else ["LMOVE", *two, *ends]


def _commands(d: _Drawing) -> dict[str, Callable[[], list[str]]]:
    c = d.random.choice
    lists = {
        "LPUSH": lambda: ["LPUSH", d.key("l"), *d.pick(_VALUES, 3)],
        "RPUSH": lambda: ["RPUSH", d.key("l"), *d.pick(_VALUES, 3)],
        "LPUSHX": lambda: ["LPUSHX", d.key("l"), c(_VALUES)],
        "RPOP": lambda: ["RPOP", d.key("l")],
        "LPOP": lambda: ["LPOP", d.key("l"), *c(([], ["2"], ["0"]))],
        "LLEN": lambda: ["LLEN", d.key("l")],
        "LRANGE": lambda: ["LRANGE", d.key("l"), c(_INDEXES), c(_INDEXES)],
        "LREM": lambda: ["LREM", d.key("l"), c(_INDEXES), c(_VALUES)],
        "LINDEX": lambda: ["LINDEX", d.key("l"), c(_INDEXES)],
        "LTRIM": lambda: ["LTRIM", d.key("l"), c(_INDEXES), c(_INDEXES)],
        "LMOVE": d.move,
        "LSET": lambda: ["LSET", d.key("l"), c(_INDEXES), c(_VALUES)],
        "LINSERT": lambda: ["LINSERT", d.key("l"), c(("BEFORE", "AFTER")), c(_VALUES), c(_VALUES)],
    }
    strings = {
        "SET": d.set,
        "GET": lambda: ["GET", d.key("k")],
        "SETNX": lambda: ["SETNX", d.key("k"), c(_VALUES)],
        "SETEX": lambda: ["SETEX", d.key("k"), c(("100", "0")), c(_VALUES)],
        "MGET": lambda: ["MGET", d.key("k"), d.key("k")],
        "MSET": lambda: ["MSET", d.key("k"), c(_VALUES), d.key("k"), c(_VALUES)],
        "INCR": lambda: ["INCR", d.key("k")],
        "INCRBY": lambda: ["INCRBY", d.key("k"), c(_NUMBERS)],
        "DECR": lambda: ["DECR", d.key("k")],
        "INCRBYFLOAT": lambda: ["INCRBYFLOAT", d.key("k"), c(_NUMBERS)],
        "APPEND": lambda: ["APPEND", d.key("k"), c(_VALUES)],
        "STRLEN": lambda: ["STRLEN", d.key("k")],
        "GETDEL": lambda: ["GETDEL", d.key("k")],
        "GETSET": lambda: ["GETSET", d.key("k"), c(_VALUES)],
        "GETEX": lambda: ["GETEX", d.key("k"), *c(([], ["PERSIST"], ["EX", "50"]))],
        "GETRANGE": lambda: ["GETRANGE", d.key("k"), c(_INDEXES), c(_INDEXES)],
        "SETRANGE": lambda: ["SETRANGE", d.key("k"), c(("0", "1", "5")), c(_VALUES)],
    }
    any_key = lambda: d.key(c("lshzk"))  # noqa: E731
    keys = {
        "DEL": lambda: ["DEL", any_key(), any_key()],
        "EXISTS": lambda: ["EXISTS", any_key(), any_key()],
        "EXPIRE": d.expire,
        "TTL": lambda: ["TTL", any_key()],
        "PERSIST": lambda: ["PERSIST", any_key()],
        "TYPE": lambda: ["TYPE", any_key()],
        "KEYS": lambda: ["KEYS", c(("*", "k*", "[lz]?", "z1"))],
        "RENAME": lambda: ["RENAME", any_key(), any_key()],
        "UNLINK": lambda: ["UNLINK", any_key()],
        "SCAN": lambda: ["SCAN", "0", "MATCH", c(("*", "l*")), "COUNT", "100"],
    }
    hashes = {
        "HSET": d.hset,
        "HGET": lambda: ["HGET", d.key("h"), c(_MEMBERS)],
        "HDEL": lambda: ["HDEL", d.key("h"), *d.pick(_MEMBERS, 2)],
        "HGETALL": lambda: ["HGETALL", d.key("h")],
        "HLEN": lambda: ["HLEN", d.key("h")],
        "HEXISTS": lambda: ["HEXISTS", d.key("h"), c(_MEMBERS)],
        "HMGET": lambda: ["HMGET", d.key("h"), *d.pick(_MEMBERS, 2)],
        "HKEYS": lambda: ["HKEYS", d.key("h")],
        "HVALS": lambda: ["HVALS", d.key("h")],
        "HINCRBY": lambda: ["HINCRBY", d.key("h"), c(_MEMBERS), c(_NUMBERS)],
        "HSETNX": lambda: ["HSETNX", d.key("h"), c(_MEMBERS), c(_VALUES)],
    }
    sets = {
        "SADD": lambda: ["SADD", d.key("s"), *d.pick(_MEMBERS, 3)],
        "SREM": lambda: ["SREM", d.key("s"), *d.pick(_MEMBERS, 2)],
        "SMEMBERS": lambda: ["SMEMBERS", d.key("s")],
        "SISMEMBER": lambda: ["SISMEMBER", d.key("s"), c(_MEMBERS)],
        "SCARD": lambda: ["SCARD", d.key("s")],
        "SMISMEMBER": lambda: ["SMISMEMBER", d.key("s"), *d.pick(_MEMBERS, 2)],
        "SUNION": lambda: [c(("SUNION", "SINTER", "SDIFF")), d.key("s"), d.key("s")],
        "SMOVE": lambda: ["SMOVE", d.key("s"), d.key("s"), c(_MEMBERS)],
    }
    sorted_sets = {
        "ZADD": d.zadd,
        "ZREM": lambda: ["ZREM", d.key("z"), *d.pick(_MEMBERS, 2)],
        "ZRANGE": d.zrange,
        "ZCARD": lambda: ["ZCARD", d.key("z")],
        "ZSCORE": lambda: ["ZSCORE", d.key("z"), c(_MEMBERS)],
        "ZCOUNT": lambda: ["ZCOUNT", d.key("z"), c(_BOUNDS), c(_BOUNDS)],
        "ZINCRBY": lambda: ["ZINCRBY", d.key("z"), c(_SCORES), c(_MEMBERS)],
        "ZRANK": lambda: ["ZRANK", d.key("z"), c(_MEMBERS)],
        "ZPOPMIN": lambda: [c(("ZPOPMIN", "ZPOPMAX")), d.key("z"), *c(([], ["2"]))],
        "ZREMRANGEBYSCORE": lambda: ["ZREMRANGEBYSCORE", d.key("z"), c(_BOUNDS), c(_BOUNDS)],
    }
    others = {
        "PUBLISH": lambda: ["PUBLISH", c(("ch1", "ch2", "other")), c(_VALUES)],
        "EVAL": d.script,
        "MULTI": lambda: ["MULTI"],
        "EXEC": lambda: ["EXEC"],
        "DISCARD": lambda: ["DISCARD"],
        "WATCH": lambda: ["WATCH", any_key(), any_key()],
        "UNWATCH": lambda: ["UNWATCH"],
        "PING": lambda: ["PING", *d.pick(_VALUES)],
        "ECHO": lambda: ["ECHO", c(_VALUES)],
        "SELECT": lambda: ["SELECT", c(("0", "0", "1", "99"))],
        "DBSIZE": lambda: ["DBSIZE"],
        "FLUSHDB": lambda: ["FLUSHDB"],
        "CLIENT": lambda: c((["CLIENT", "SETNAME", "me"], ["CLIENT", "GETNAME"], ["CLIENT", "NOSUCH"])),
        "CONFIG": lambda: ["CONFIG", "GET", c(("maxmemory", "maxmemory-policy", "timeout", "appendonly", "databases"))],
        "SAVE": lambda: ["SAVE"],
        "LASTSAVE": lambda: ["LASTSAVE"],
        "CONFIG SET": lambda: c(_SETTINGS),
        "PUBSUB": lambda: c((["PUBSUB", "NUMSUB", "ch1", "ch2"], ["PUBSUB", "CHANNELS"], ["PUBSUB", "NUMPAT"])),
        "NOSUCH": lambda: ["NOSUCH", "a"],
        "LPUSH without value": lambda: ["LPUSH", "l0"],
    }
    return {**lists, **strings, **keys, **hashes, **sets, **sorted_sets, **others}


#: All commands, by the word under which they are counted.
COMMANDS = (*_commands(_Drawing(random.Random(0), False)), "BGSAVE")
_OFTEN = ("LPUSH", "RPUSH", "SET", "HSET", "SADD", "ZADD", "ZRANGE", "MULTI", "EXEC", "EXEC", "LPUSH", "PUBLISH")


def _transaction(drawing: _Drawing, commands: dict[str, Callable[[], list[str]]], names: list[str]) -> list[Operation]:
    """A transaction on one client, perhaps with another client's write to what it watches, or with a mistake in it."""
    chance, client = drawing.random, drawing.random.randrange(CLIENTS)
    key = drawing.key("k")
    told = [["WATCH", key]] if chance.random() < 0.6 else []
    others = [["SET", key, chance.choice(_VALUES)]] if chance.random() < 0.4 else []
    body = [commands[chance.choice(names)]() for _ in range(chance.randint(0, 3))]
    if chance.random() < 0.25:
        body.append(chance.choice((["NOSUCH"], ["LPUSH", "l0"], ["CLIENT", "NOSUCH"])))
    after = [["MULTI"], *body, chance.choice((["EXEC"], ["EXEC"], ["EXEC"], ["DISCARD"]))]
    return [
        *(Operation("command", client, {"name": words[0], "words": words}) for words in told),
        *(Operation("command", (client + 1) % CLIENTS, {"name": words[0], "words": words}) for words in others),
        *(Operation("command", client, {"name": words[0], "words": words}) for words in after),
    ]


def _shortage(drawing: _Drawing, commands: dict[str, Callable[[], list[str]]], names: list[str]) -> list[Operation]:
    """For a while there is no memory."""
    chance, client = drawing.random, drawing.random.randrange(CLIENTS)
    meanwhile = [chance.choice(names) for _ in range(chance.randint(1, 4))]
    body = [Operation("command", client, {"name": name, "words": commands[name]()}) for name in meanwhile]
    if drawing.one_in(3):
        words = [["MULTI"], *(commands[chance.choice(names)]() for _ in range(2))]
        before = [Operation("command", client, {"name": one[0], "words": one}) for one in words]
        after = [Operation("command", client, {"name": "EXEC", "words": ["EXEC"]})]
        body = [*body, *after] if drawing.one_in(2) else [*after]
        return [*before, Operation("memory", 0, {"limit": "1"}), *body, Operation("memory", 0, {"limit": "0"})]
    return [Operation("memory", 0, {"limit": "1"}), *body, Operation("memory", 0, {"limit": "0"})]


def draw_case(chance: random.Random) -> Case:
    """A case."""
    timed = chance.random() < 0.06
    drawing = _Drawing(chance, timed)
    commands = _commands(drawing)
    names = [*commands, *_OFTEN]
    operations = []
    for _ in range(chance.randint(3, 8) if timed else chance.randint(10, 40)):
        dice = chance.randrange(24)
        if dice == 0:
            keys = [drawing.key("l") for _ in range(chance.randint(1, 2))]
            name = chance.choice(("BRPOP", "BRPOP", "BLPOP", "BLMOVE", "BZPOPMIN"))
            if name == "BLMOVE":
                words = ["BLMOVE", keys[0], drawing.key("l"), "RIGHT", "LEFT", "0"]
            else:
                words = [name, *(keys if name != "BZPOPMIN" else [drawing.key("z")]), "0"]
            operations.append(Operation("block", BLOCKER, {"words": words}))
        elif dice == 1:
            name = chance.choice(("SUBSCRIBE", "SUBSCRIBE", "PSUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"))
            channel = chance.choice(("ch1", "ch2")) if not name.startswith("P") else chance.choice(("ch*", "ch?", "*"))
            operations.append(Operation("subscribe", SUBSCRIBER, {"words": [name, channel]}))
        elif dice == 3:
            operations += _transaction(drawing, commands, names)
        elif dice == 5 and drawing.one_in(2):
            # In a transaction a real server takes the snapshot later, at a time of its own.
            words = ["BGSAVE"] if drawing.one_in(2) else ["BGSAVE", "NOW"]
            operations.append(Operation("snapshot", 0, {"name": "BGSAVE", "words": words}))
        elif dice == 4 and not timed:
            operations += _shortage(drawing, commands, names)
        elif dice == 2 and chance.random() < 0.3:
            operations.append(Operation("reconnect", chance.randrange(CLIENTS), {}))
        else:
            name = chance.choice(names)
            client = chance.choice((0, 0, 0, 1, 2))
            operations.append(Operation("command", client, {"name": name, "words": commands[name]()}))
    return Case(tuple(operations), timed)
