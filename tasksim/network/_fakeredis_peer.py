"""The server's end of a connection: fakeredis' commands, with a server's own way around them.

Written new is what a real server does around a command: read, run, let the clients that are blocked try again, first
come first served, reply. fakeredis has threads, queues and a lock for that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import redis
from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Timeout
from fakeredis._commands import COMMANDS_WITH_SUB, Signature
from fakeredis._core import CommandItem
from fakeredis._helpers import QUEUED, NoResponse, SimpleError, SimpleString, casematch
from fakeredis._socket._resp import extract_command

from tasksim.kernel.process import Process
from tasksim.network._fakeredis import Store
from tasksim.network._fakeredis_admin import NO_MULTI
from tasksim.network._fakeredis_memory import OOM
from tasksim.network._fakeredis_mended import Mended, in_servers_words
from tasksim.network._parts import UNREAD, Blocked
from tasksim.network._resp import Commands, ProtocolError, encode, encode_as, error, push, status

__all__ = ["Peer"]

_BLMOVE_ARGUMENTS: Any = (bytes, bytes, bytes, bytes, Timeout)
_BLMOVE = Signature("blmove", "_blmove", _BLMOVE_ARGUMENTS, flags=msgs.FLAG_NO_SCRIPT)
_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration "
    "is correct?"
)

encode_as(SimpleString, lambda value, _: status(value.value))
encode_as(SimpleError, lambda value, _: error(in_servers_words(value.value)))


class Peer(Mended):
    """The server's end of one connection: reads commands, runs them, replies.

    Args:
        reply: takes the bytes for the client.
        drop: called when the server itself ends the connection, with the reason.
        owner: the client's process.
        address: the client's, as CLIENT LIST gives it.
    """

    _server: Any
    _db: Any
    server_type = "redis"
    version: Any = ()

    def __init__(
        self,
        store: Store,
        reply: Callable[[bytes], None],
        drop: Callable[[str], None],
        owner: Process,
        address: str,
    ) -> None:
        self._reply, self._drop, self._owner = reply, drop, owner
        self._commands = Commands()
        self._out: list[bytes] = []
        #: What was popped for the client since it has sent anything: key and value.
        self._popped: list[tuple[bytes, bytes]] = []
        self._hooks = store.hooks
        self._running = self._late = False
        self.version = store.version
        #: Commands that were used before, by their first word as it was sent: the name, the method, the signature.
        self._known: dict[bytes, tuple[str, Any, Signature]] = {}
        info = {"addr": address, "laddr": "127.0.0.1:6379", "resp": 2}
        super().__init__(store, 0, client_class=redis.Redis, client_info=info)

    # --- reading and replying

    def receive(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._popped.clear()  # who asks again has read what was answered
        if self._server is not None:
            self._commands.feed(data)
            self._go_on()

    def _go_on(self) -> None:
        """Run what has arrived, up to a command that blocks."""
        if self._running:
            return
        self._running = True
        try:
            while not self._paused:
                fields = self._commands.next()
                if fields is None:
                    break
                if fields:
                    self._process_command(fields)
        except ProtocolError as exc:
            self._out.append(error(f"ERR Protocol error: {exc}"))
            self._flush()
            self._drop("protocol error")
        finally:
            self._running = False
        if self._late and self._server is not None:
            self._late = False
            self._server.kernel.soon(self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        if self._out and self._server is not None:
            data = b"".join(self._out)
            self._out.clear()
            self._reply(data)

    def put_response(self, msg: Any) -> None:
        """Tell a subscriber; fakeredis calls this for nothing else once `_process_command` is ours."""
        self._out.append(push(msg, self._client_info["resp"]))
        if not self._running:
            self._flush()

    def _process_command(self, fields: list[bytes]) -> None:
        store = self._server
        self._fields, ran = fields, False
        known = self._known.get(fields[0])
        name, arguments = extract_command(fields) if known is None else (known[0], fields[1:])
        try:
            function, signature = self._look_up(name, fields[0]) if known is None else known[1:]
            if store.restricted:
                store.acl.validate_command(self._client_info.user, self._client_info, fields)
            elif name.startswith("acl"):
                store.restricted = True
            store.tell_time()
            queue = self._transaction
            if queue is not None or store.memory is not None:
                signature.check_arity(arguments, store.version)  # else it is checked where the command runs
                if queue is not None and name in NO_MULTI:
                    raise SimpleError("ERR Command not allowed inside a transaction")
                if store.memory is not None:
                    queued = None if queue is None else [one.name for _, one, _ in queue]
                    if not store.memory.look(name, queued):
                        raise SimpleError(OOM)
            if self._transaction is not None and msgs.FLAG_TRANSACTION not in signature.flags:
                if not (self._transaction_failed or self._watch_notified):  # else nobody will run it
                    self._transaction.append((function, signature, arguments))
                result: Any = QUEUED
            else:
                ran = True
                result = self._run_command(function, signature, arguments, False)
        except SimpleError as exc:
            result = self._refused(name, exc, ran)
        quiet = self._reply_off or self._reply_skip
        self._reply_skip, self._reply_skip_next = self._reply_skip_next, False
        if not quiet and type(result) is not NoResponse:
            self._out.append(encode(result, self._client_info["resp"]))
        if store.blocked and (store.touched or store.all_touched):
            store.serve()

    def _look_up(self, name: str, word: bytes) -> tuple[Any, Signature]:
        function, signature = self._name_to_func(name)
        if name not in COMMANDS_WITH_SUB and " " not in name:
            self._known[word] = name, function, signature
        return function, signature

    @property
    def _resp_version(self) -> int:
        """Of the protocol; a script sets its own."""
        version: int = self._script_resp or self._client_info["resp"]
        return version

    def _refused(self, name: str, exc: SimpleError, ran: bool) -> SimpleError:
        """An error while queueing spoils the transaction (redis.io, Transactions: errors inside a transaction)."""
        if exc.value == OOM and name in ("lpush", "rpush") and self._server is not None:
            self._server.hooks.gone(self._fields[2:], self._fields[1], "refused")
        if self._transaction is not None and not ran:
            self._transaction_failed = True
        if name == "exec" and exc.value.startswith(("ERR ", "OOM ")):
            exc.value = f"EXECABORT Transaction discarded because of: {exc.value.removeprefix('ERR ')}"
            self._forget_transaction()
            self._clear_watches()
        return exc

    # --- blocking

    def _blocking(
        self, timeout: float | None, func: Callable[[bool], Any], shape: Callable[[Any], Any] | None = None
    ) -> Any:
        result = func(True)
        if result is not None or self._in_transaction:
            # A consumer that always finds something would never park, and take all before others had their turn.
            self._late = True
            return result if shape is None else shape(result)
        kernel = self._server.kernel
        timer = kernel.at(kernel.due_ns(timeout), self.try_again, True) if timeout else None
        self._server.blocked[self] = Blocked(func, shape, timer)
        self._blocked = self._paused = True
        return NoResponse()

    def try_again(self, last: bool = False) -> None:
        """A blocked client's turn: something changed, or (`last`) its time is up."""
        store = self._server
        blocked = store.blocked.get(self) if store is not None else None
        if blocked is None:
            return
        try:
            result = None
            if self._unblock_reason is not None:
                last = True
                self._take_unblock_reason()
            elif not last:
                result = blocked.attempt(False)
                if result is None:
                    return
            if blocked.shape is not None:
                result = blocked.shape(result)
        except SimpleError as exc:
            result = exc
        self._unblock()
        self._out.append(encode(result, self._client_info["resp"]))
        self._go_on()

    def _unblock(self) -> None:
        blocked = self._server.blocked.pop(self, None)
        if blocked is not None and blocked.timer is not None:
            self._server.kernel.cancel(blocked.timer)
        self._blocked = self._paused = False
        self._unblock_reason = None

    # --- the end

    def kill(self) -> None:
        """CLIENT KILL: the connection ends after the replies that are due."""
        self._server.kernel.soon(self._drop, "killed by CLIENT KILL")

    def close(self) -> None:
        """Forget everything of this connection."""
        store = self._server
        if store is None:
            return
        self._unblock()
        self._discard_subscriptions()
        self._clear_watches()
        store.sockets.remove(self)
        self._server = self._db = None
        self._known.clear()

    # --- commands that somebody may watch

    def lpush(self, key: CommandItem, *values: bytes) -> int:
        """LPUSH."""
        length: int = super().lpush(key, *values)
        self._server.hooks.pushed(self._owner, key.key, values)
        return length

    def rpush(self, key: CommandItem, *values: bytes) -> int:
        """RPUSH."""
        length: int = super().rpush(key, *values)
        self._server.hooks.pushed(self._owner, key.key, values)
        return length

    def _bpop_pass(self, keys: list[bytes], op: Callable[[list[bytes]], bytes], first_pass: bool) -> Any:
        found = super()._bpop_pass(keys, op, first_pass)
        if found is not None:
            self._popped.append((found[0], found[1]))
        return found

    def rpop(self, key: CommandItem, *args: bytes) -> Any:
        """RPOP."""
        return self._note_popped(key.key, super().rpop(key, *args))

    def lpop(self, key: CommandItem, *args: bytes) -> Any:
        """LPOP."""
        return self._note_popped(key.key, super().lpop(key, *args))

    def _note_popped(self, key: bytes, found: Any) -> Any:
        values = [found] if isinstance(found, bytes) else found or ()
        self._popped += [(key, value) for value in values]
        return found

    def unread(self) -> None:
        """Nobody has read the last answer: what was popped for it is nowhere."""
        popped, self._popped = self._popped, []
        for key, value in popped:
            self._hooks.gone([value], key, UNREAD)

    def del_(self, *keys: CommandItem) -> int:
        """DEL."""
        for key in keys:
            if isinstance(key.value, list):
                self._server.hooks.gone(key.value, key.key, "deleted")
        return int(super().del_(*keys))

    def flushdb(self, *args: bytes) -> Any:
        """FLUSHDB."""
        self._server.lose("flushed", [self._db_num])
        return super().flushdb(*args)

    def flushall(self, *args: bytes) -> Any:
        """FLUSHALL."""
        self._server.lose("flushed")
        return super().flushall(*args)

    # --- commands that fakeredis gives other answers to than a server of this version

    def hello(self, *args: bytes) -> dict[str, Any]:
        """HELLO, with the server's own name and version."""
        rest, login = _without_auth(args)
        if login:
            self._auth(*login)
        found: dict[str, Any] = super().hello(*rest)
        found.update(server="redis", version=self._server.version_text)
        return found

    def _auth(self, *login: bytes) -> Any:
        """AUTH (redis.io, ACL and AUTH); any password is right unless the store has a list."""
        logins = self._server.logins
        if logins is not None:
            user, password = (b"default", *login)[-2:]
            known = logins.get(_text(user))
            if known is None and len(login) == 1:
                raise SimpleError(_NO_PASSWORD)
            if known != _text(password):
                raise SimpleError("WRONGPASS invalid username-password pair or user is disabled.")
        return SimpleString(b"OK")

    def client_maint_notifications(self, *_: bytes) -> Any:
        """Known to Redis Enterprise only; redis-py asks, and goes on without."""
        raise SimpleError("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.")

    def _name_to_func(self, cmd_name: str) -> Any:
        return (self._blmove, _BLMOVE) if cmd_name == "blmove" else super()._name_to_func(cmd_name)

    def _blmove(self, source: bytes, target: bytes, src: bytes, dst: bytes, timeout: float) -> Any:
        """BLMOVE; fakeredis does not block when the source is empty."""
        return self._blocking(timeout, functools.partial(self._move, source, target, src, dst))

    def _move(self, source: bytes, target: bytes, src: bytes, dst: bytes, first_pass: bool) -> Any:
        lists = self._db
        first = CommandItem(source, lists, item=lists.get(source))
        if not first or not (isinstance(first.value, list) or first_pass):
            return None
        other = CommandItem(target, lists, item=lists.get(target))
        if not isinstance(first.value, list) or (other and not isinstance(other.value, list)):
            raise SimpleError(msgs.WRONGTYPE_MSG)
        items = [CommandItem(key, lists, item=lists.get(key), default=[]) for key in dict.fromkeys((source, target))]
        result = self._lmove(items[0], items[-1], src, dst, False)
        for item in items:
            item.writeback()
        return result

    def eval(self, script: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        """EVAL; `math.random` begins anew in each script, as a server's does (redis.io, Lua API: math.random)."""
        if b"random" in script:
            self._get_server_runtime(self._server).execute("math.randomseed(0)")
        return super().eval(script, numkeys, *keys_and_args)

    def _keyspace_notifications(self, command_items: list[CommandItem], event: bytes) -> None:
        """Off unless configured (redis.io, Keyspace notifications); fakeredis always sends them."""
        if self._server.config.get(b"notify-keyspace-events"):
            super()._keyspace_notifications(command_items, event)


def _without_auth(arguments: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The arguments of HELLO but AUTH, and those of AUTH."""
    for index, argument in enumerate(arguments):
        if casematch(argument, b"auth"):
            return arguments[:index] + arguments[index + 3 :], arguments[index + 1 : index + 3]
    return arguments, ()


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
