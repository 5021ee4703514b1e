"""kombu's Hub and its poller on simulated descriptors."""

from __future__ import annotations

import os
import time
from typing import Any

import kombu.asynchronous.hub
import kombu.utils.limits

from tasksim.patching.table import Row
from tasksim.unix.poll import Epoll, Poll, select_files
from tasksim.worker.world import World

#: Modules whose own locks guard a few lines each, none of which waits: pools, caches, the loop's list of callbacks.
NEVER_WAIT_INSIDE = ("kombu.asynchronous.hub", "kombu.utils.functional", "kombu.resource")


def _epoll(world: World) -> object:
    return lambda *_: Epoll(world.unix)


def _poll(world: World) -> object:
    import select

    real = select.poll

    def poll() -> Any:
        return Poll(world.unix, real)

    poll.real = real  # type: ignore[attr-defined]
    return poll


def _select(world: World) -> object:
    import select

    real = select.select

    def select_(rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None) -> Any:
        """select.select, where simulated descriptors may be among those asked for."""
        return select_files(world.unix, real, (rlist, wlist, xlist), timeout)

    return select_


def _waker(world: World) -> object:
    unix = world.unix

    class Waker:
        """Interrupts the poller: a simulated pipe in place of a pair of sockets."""

        def __init__(self) -> None:
            self.reader, self.writer = unix.pipe()
            self.files = unix.file(self.reader), unix.file(self.writer)
            self.pid = os.getpid()

        def fileno(self) -> int:
            return self.reader

        def wake(self) -> None:
            if unix.has(self.writer):
                unix.write(self.writer, b"\0")

        def drain(self) -> None:
            unix.read(self.reader, 4096)

        def close(self) -> None:
            unix.close_own(self.reader, self.files[0])
            unix.close_own(self.writer, self.files[1])

    return Waker


def _loop_defaults(_: World) -> object:
    real = kombu.asynchronous.hub.Hub.create_loop
    names = real.__code__.co_varnames[1 : real.__code__.co_argcount]
    defaults = dict(zip(names, real.__defaults__ or (), strict=True))
    # By its name: the clock's own sleep is put in later than the rows.
    return tuple({**defaults, "sleep": lambda seconds: time.sleep(seconds)}.values())


#: By so little may a token be short of a whole one and count.
_SHORT = 1e-9


def _get_tokens(_: World) -> object:
    real: Any = kombu.utils.limits.TokenBucket._get_tokens

    def get_tokens(bucket: Any) -> float:
        tokens: float = real(bucket)
        if 0 < round(tokens) - tokens < _SHORT:
            tokens = bucket._tokens = float(round(tokens))
        return tokens

    return get_tokens


ROWS = (
    Row("kombu.utils.eventio:epoll", "the hub waits for simulated descriptors", _epoll),
    Row("kombu.asynchronous.hub:_Waker", "the same, for other threads", _waker, needs="kombu>=5.7"),
    Row(
        "kombu.asynchronous.hub:Hub.create_loop.__defaults__",
        "a hub without a descriptor sleeps; it keeps time.sleep in a default",
        _loop_defaults,
    ),
    Row("select:select", "as select.poll, for whoever asks so whether a connection has something to read", _select),
    Row("select:poll", "redis-py, hiredis and Celery's result consumer wait for a simulated descriptor", _poll),
    Row(
        "kombu.utils.limits:TokenBucket._get_tokens",
        "at the instant at which a token is due floats may lack its last digit; a real clock is past it at the "
        "next look, this one stands still, and the worker would ask ten times and then sleep for a second",
        _get_tokens,
    ),
)
