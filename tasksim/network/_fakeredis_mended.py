"""Commands to which fakeredis gives other answers than a server of the same version does.

Each was found by running the same commands on a real one (tests/differential, Redis 7.0.15).
"""

from __future__ import annotations

import re
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError
from fakeredis.model import ExpiringMembersSet, Hash, ZSet

from tasksim.network._fakeredis_admin import ADMIN, Admin
from tasksim.network._fakeredis_memory import DENIED, OOM

__all__ = ["Mended", "in_servers_words"]

#: Commands that look at their arguments before the type of the key, and that type.
_ARGUMENTS_FIRST: dict[str, Any] = {"zadd": ZSet, "hincrby": Hash}
#: Of the arguments of an unknown command so much is repeated (server.c: rejectCommandFormat).
_REPEATED = 128
_ARITY = re.compile(r"(?<=wrong number of arguments for )'(\w+) (\w+)' command")
_EXPIRE = re.compile(r"invalid expire time in '?(\w+)'?( command)?$")


class Mended(Admin):
    """The commands of a client of a real server."""

    _server: Any
    _db: Any
    _fields: list[bytes]

    def _name_to_func(self, cmd_name: str) -> Any:
        own = ADMIN.get(cmd_name)
        return super()._name_to_func(cmd_name) if own is None else (getattr(self, own.func_name), own)

    def _unknown_command(self, command: str, args: str | None = None) -> SimpleError:
        """In a server's words (server.c: processCommand), with what the client had sent."""
        del args
        fields = [_text(one) for one in self._fields]
        if " " in command and len(fields) > 1:
            return SimpleError(f"ERR unknown subcommand '{fields[1][:128]}'. Try {fields[0].upper()} HELP.")
        told = ""
        for one in fields[1:]:
            if len(told) >= _REPEATED:
                break
            told += f"'{one[: _REPEATED - len(told)]}' "
        return SimpleError(f"ERR unknown command '{fields[0][:128]}', with args beginning with: {told}")

    def _run_command(self, func: Any, sig: Any, args: list[Any], from_script: bool) -> Any:
        """Which of two errors a client is told: some commands read their arguments first, INCRBYFLOAT the key.

        A script is refused what its client would be, by what memory there was when it began (script.c).
        """
        if from_script:
            memory = self._server.memory
            if memory is not None and memory.out and sig.name in DENIED:
                return SimpleError(OOM)
        result = super()._run_command(func, sig, args, from_script)
        if type(result) is SimpleError:
            kind = _ARGUMENTS_FIRST.get(sig.name)
            if kind is not None and result.value == msgs.WRONGTYPE_MSG:
                try:
                    func(CommandItem(b"", self._db, item=None, default=kind()), *args[1:])  # not written back
                except SimpleError as exc:
                    return exc
            elif sig.name == "incrbyfloat" and len(args) == 2:
                item = self._db.get(args[0])
                if item is not None and not isinstance(item.value, bytes):
                    return SimpleError(msgs.WRONGTYPE_MSG)
        return result

    def client_getname(self) -> Any:
        """CLIENT GETNAME: nothing rather than an empty name."""
        return super().client_getname() or None

    def smove(self, src: CommandItem, dst: CommandItem, member: bytes) -> int:
        """SMOVE: both keys are sets, if they are there."""
        if src.value is not None and not isinstance(src.value, ExpiringMembersSet):
            raise SimpleError(msgs.WRONGTYPE_MSG)
        return int(super().smove(src, dst, member))

    def _bzpop(self, keys: list[bytes], reverse: bool, first_pass: bool) -> Any:
        """BZPOPMIN and BZPOPMAX: a client that waits passes over what is no sorted set."""
        sets = []
        for key in keys:
            item = self._db.get(key)
            if item is not None and not isinstance(item.value, ZSet):
                if first_pass:
                    raise SimpleError(msgs.WRONGTYPE_MSG)
                continue
            sets.append(key)
        return super()._bzpop(sets, reverse, first_pass)


def in_servers_words(text: str) -> str:
    """An error of fakeredis as a server since 7.0 puts it."""
    return _ARITY.sub(r"'\1|\2' command", _EXPIRE.sub(r"invalid expire time in '\1' command", text))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
