"""PostgreSQL by psycopg 3 or psycopg2: a statement takes no virtual time, and who waits for a lock parks.

A statement that is not answered at once either computes or waits for a lock. The server knows which: a connection of
our own asks it for whom the statement waits (pg_blocking_pids). If that is another simulated process, which cannot go
on while this one blocks the only thread, the statement parks until somebody's statement, or life, has ended.
"""

from __future__ import annotations

import contextlib
import logging
import select
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tasksim.kernel.loop import Kernel
from tasksim.kernel.process import Process
from tasksim.patching.clock import real_monotonic, real_time
from tasksim.patching.databases import Databases
from tasksim.patching.guard import Gate
from tasksim.patching.table import Patches, Row

logger = logging.getLogger("tasksim")

#: Real milliseconds for an answer before the server is asked whether a lock is in the way; then between questions.
AT_ONCE, BETWEEN = 2, 10
#: Virtual seconds after which PostgreSQL looks for a deadlock (its deadlock_timeout by default).
DEADLOCK_TIMEOUT = 1.0
#: Real seconds that a server may take to notice that a client is gone.
GOODBYE = 5.0
#: By how much its clock may differ from the virtual one without a word, seconds.
SAME_TIME = 60.0

_READ, _WRITE = 1, 2
_poll = select.poll


class Backends:
    """The server's processes ("backends") that serve simulated processes, and who waits for whom.

    Args:
        now: the virtual time of day, seconds since 1970.
    """

    def __init__(self, kernel: Kernel, gate: Gate, databases: Databases, now: Callable[[], float]) -> None:
        self._kernel, self._gate, self._databases, self._now = kernel, gate, databases, now
        self._owners: dict[tuple[Any, int], Process] = {}
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._waiters: dict[Any, None] = {}
        self._asking: dict[Any, Any] = {}
        self._given_up: dict[int, Exception] = {}
        self._old: dict[int, _Old] = {}
        self._told = False

    def end(self) -> None:
        """The end of the simulation."""
        for connection in self._asking.values():
            with contextlib.suppress(Exception):
                connection.close()
        self._asking.clear()

    # --- a statement

    def run(self, connection: Any, statement: Any) -> Any:
        """Let a statement (psycopg's generator) come to its end, and give its result."""
        self._meet(connection)
        try:
            state = next(statement)
            while True:
                state = statement.send(self._ready(connection, state))
        except StopIteration as end:
            return end.value
        except Exception as said:
            error = self._given_up.pop(connection.pgconn.backend_pid, None)
            if error is None:
                raise
            self._kernel.sleep(DEADLOCK_TIMEOUT, "PostgreSQL to find a deadlock")
            raise error from said
        finally:
            self._wake()

    def poll_until_done(
        self, connection: Any, poll: Callable[[], int], states: Mapping[int, int], *, parks: bool
    ) -> None:
        """The same for psycopg2, which asks again and again.

        Args:
            states: what its answers want; any other one is the end.
            parks: is the caller a simulated process?
        """
        met: _Old | None = None
        while (wanted := states.get(poll())) is not None:
            pid = connection.info.backend_pid
            if not parks or not pid:
                _poll_for(connection.fileno(), wanted, None)
                continue
            if met is None:
                met = self._old.setdefault(pid, _Old(connection))
                self._meet(met)
            self._ready(met, wanted)
        if met is not None and self._given_up.pop(met.pgconn.backend_pid, None) is not None:
            self._kernel.sleep(DEADLOCK_TIMEOUT, "PostgreSQL to find a deadlock")
        self._wake()

    def _meet(self, connection: Any) -> None:
        self._owners[_server(connection), connection.pgconn.backend_pid] = self._kernel.current
        if connection in self._known:
            return
        self._known.add(connection)
        self._databases.opened(connection)
        apart = self._now() - real_time()
        if abs(apart) > SAME_TIME and not self._told:
            self._told = True
            logger.warning(
                "PostgreSQL's own clock is real: now(), CURRENT_TIMESTAMP and column defaults made of them are %+.0f s "
                'from what the simulation shows. Simulation(start="now") brings both together at the start; '
                "times that your code passes to the database are virtual.",
                -apart,
            )

    def _ready(self, connection: Any, wanted: int) -> int:
        patience, pid = AT_ONCE, connection.pgconn.backend_pid
        while True:
            ready = _poll_for(connection.pgconn.socket, wanted, patience)
            if ready:
                return ready
            patience = BETWEEN
            if pid in self._given_up:
                continue
            chain = self._chain(connection, pid)
            if pid in chain:
                self._break(connection, chain)
            else:
                self._park(connection, chain)

    # --- locks

    def _chain(self, connection: Any, pid: int) -> list[int]:
        """Backends that this one waits for, and those that these wait for, and so on."""
        chain: list[int] = []
        ask = [pid]
        while ask:
            found = self._ask(connection, "SELECT unnest(pg_blocking_pids(%s))", ask.pop())
            new = [one for one in found if one not in chain]
            chain += new
            ask += [one for one in new if one != pid]
        return chain

    def _living(self, connection: Any, pids: Iterable[int]) -> list[str]:
        server = _server(connection)
        owners = [self._owners.get((server, pid)) for pid in pids]
        return list(dict.fromkeys(one.name for one in owners if one is not None and not one.dead))

    def _park(self, connection: Any, chain: list[int]) -> None:
        holders = self._living(connection, chain)
        if holders:
            self._kernel.wait_in(self._waiters, None, f"a lock in PostgreSQL that {' or '.join(holders)} holds")

    def _break(self, connection: Any, chain: list[int]) -> None:
        """This statement has closed a cycle: it is given up, as the server would do after a second."""
        # Really at once, before the server itself chooses one of them by its real clock.
        names = self._living(connection, chain)
        with self._gate.left():
            connection.cancel()
        self._given_up[connection.pgconn.backend_pid] = _deadlock_error()(
            f"deadlock detected: {' and '.join(names)} wait for each other's locks; "
            f"{self._kernel.current.name} closed the cycle and is given up"
        )

    def _wake(self) -> None:
        for thread in list(self._waiters):
            self._kernel.wake(thread)

    # --- the end of connections

    def close(self, connection: Any, close: Callable[[Any], None]) -> None:
        """Close a connection; one in a transaction is gone when the server has rolled that back."""
        if connection.closed or connection not in self._known:
            close(connection)
            return
        pid = connection.pgconn.backend_pid
        self._owners.pop((_server(connection), pid), None)
        asking = self._asker(connection) if connection.pgconn.transaction_status else None
        close(connection)
        if asking is not None:
            self._see_off(asking, pid)
        self._wake()

    def _see_off(self, asking: Any, pid: int) -> None:
        until = real_monotonic() + GOODBYE
        with self._gate.left():
            while real_monotonic() < until:
                cursor = asking.cursor()
                cursor.execute("SELECT pg_blocking_pids(pid) <> '{}' FROM pg_stat_activity WHERE pid = %s", (pid,))
                row = cursor.fetchone()
                if row is None or row[0]:  # gone, or behind somebody else's lock, where it does not notice
                    return
                _poll().poll(1)

    def _ask(self, connection: Any, question: str, *arguments: Any) -> list[Any]:
        asking = self._asker(connection)
        with self._gate.left():
            cursor = asking.cursor()
            cursor.execute(question, arguments)
            return [row[0] for row in cursor.fetchall()]

    def _asker(self, connection: Any) -> Any:
        """A connection of our own to the same server."""
        server = _server(connection)
        if server not in self._asking:
            info = connection.info
            with self._gate.left():
                self._asking[server] = _connect_apart(info.dsn, info.password or None, isinstance(connection, _Old))
        return self._asking[server]


def _poll_for(descriptor: int, wanted: int, patience: int | None) -> int:
    """What a real descriptor is ready for, after so many real milliseconds at most."""
    poll = _poll()
    poll.register(descriptor, (select.POLLIN if wanted & _READ else 0) | (select.POLLOUT if wanted & _WRITE else 0))
    found = poll.poll(patience)
    seen = found[0][1] if found else 0
    return (_READ if seen & ~select.POLLOUT else 0) | (_WRITE if seen & select.POLLOUT else 0)


def _server(connection: Any) -> tuple[Any, Any]:
    return connection.pgconn.host, connection.pgconn.port


def _deadlock_error() -> type[Exception]:
    psycopg: Any = sys.modules.get("psycopg")
    return psycopg.errors.DeadlockDetected if psycopg is not None else RuntimeError


def _connect_apart(dsn: str, password: str | None, old: bool) -> Any:
    """A connection of our own, by the same driver."""
    module: Any = sys.modules["psycopg2" if old else "psycopg"]
    connection = module.connect(dsn, **({} if password is None else {"password": password}))
    connection.autocommit = True
    return connection


class _Old:
    """A connection of psycopg2's, as far as its like of psycopg 3 is asked for."""

    def __init__(self, connection: Any) -> None:
        info = connection.info
        self.pgconn = types.SimpleNamespace(
            socket=connection.fileno(), backend_pid=info.backend_pid, host=info.host, port=info.port
        )
        self.info = types.SimpleNamespace(dsn=connection.dsn, password=info.password)
        self.cancel, self.close = connection.cancel, connection.close


def _wait(world: Any) -> object:
    from psycopg import Connection

    real, gate, backends, kernel = Connection.wait, world.gate, world.postgres, world.kernel

    def wait(self: Any, gen: Any, *arguments: Any, **options: Any) -> Any:
        if not gate.inside() or kernel.closed or options.get("timeout") is not None:
            return real(self, gen, *arguments, **options)
        return backends.run(self, gen)

    return wait


def _close(world: Any) -> object:
    from psycopg import Connection

    real, backends = Connection.close, world.postgres

    def close(self: Any) -> None:
        backends.close(self, real)

    return close


ROWS = (
    Row("psycopg:Connection.wait", "who waits for a lock that another simulated process holds, parks", _wait),
    Row("psycopg:Connection.close", "a transaction is rolled back when its connection is closed", _close),
)


def rows() -> Iterable[Row]:
    """Places that are replaced in what has been imported."""
    if "psycopg" in sys.modules:
        yield from ROWS


def serve_psycopg2(patches: Patches, gate: Gate, backends: Backends) -> None:
    """Let psycopg2, if it has been imported, wait where a simulated process can park: it has a place for that."""
    module: Any = sys.modules.get("psycopg2")
    if module is None:
        return
    extensions = module.extensions
    before = extensions.get_wait_callback()
    states = {extensions.POLL_READ: _READ, extensions.POLL_WRITE: _WRITE}

    def wait(connection: Any) -> None:
        backends.poll_until_done(connection, connection.poll, states, parks=gate.inside())

    extensions.set_wait_callback(wait)
    patches.on_restore(lambda: extensions.set_wait_callback(before))
