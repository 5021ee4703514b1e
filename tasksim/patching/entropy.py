"""Chance for the user's code: `random`, `os.urandom`, `uuid`, from a stream of each process' own."""

from __future__ import annotations

import os
import random
import tempfile  # noqa: F401 (a row's place)
from _thread import get_ident
from collections.abc import Callable
from typing import Any

from tasksim.kernel.choice import Stream
from tasksim.kernel.loop import Kernel
from tasksim.patching.table import Row

_KEY, _BYTES = "random", "urandom"


class _Sources:
    """The generators of each process, made when first asked for."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.thread = self._home = get_ident()

    def inside(self) -> bool:
        return get_ident() == self.thread

    def leave(self) -> None:
        """From now on chance is real."""
        self.thread = 0

    def enter(self) -> None:
        """Undo `leave`."""
        self.thread = self._home

    def generator(self) -> random.Random:
        process = self._kernel.current
        found: random.Random | None = process.own.get(_KEY)
        if found is None:
            # The test's own pid is a real one, another one each time.
            number = 0 if process is self._kernel.driver else process.pid
            seed = self._kernel.choice.derive(f"random/{process.name}/{number}")
            found = process.own[_KEY] = random.Random(seed)
        return found

    def stream(self) -> Stream:
        process = self._kernel.current
        found: Stream | None = process.own.get(_BYTES)
        if found is None:
            found = process.own[_BYTES] = self._kernel.choice.stream(f"urandom/{process.name}")
        return found


def _shared_class(sources: _Sources) -> type:
    """A class for `random._inst`, whose bound methods are the module's functions: asks the process' own generator."""
    base: Any = random.Random
    # (method of the shared generator, so that real threads keep the real one)
    names = ("random", "getrandbits", "seed", "getstate", "setstate", "randbytes", "gauss")

    def forward(name: str) -> Callable[..., Any]:
        real = getattr(base, name)

        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            if sources.inside():
                return getattr(sources.generator(), name)(*arguments, **options)
            return real(self, *arguments, **options)

        method.__name__ = name
        return method

    return type("ProcessRandom", (base,), {name: forward(name) for name in names})


def _instance() -> Any:
    return vars(random)["_inst"]


def _function(name: str) -> Callable[[Any], object]:
    def make(world: Any) -> object:
        shared, real = world.sources, getattr(random, name)

        def function(*arguments: Any, **options: Any) -> Any:
            if shared.inside():
                return getattr(shared.generator(), name)(*arguments, **options)
            return real(*arguments, **options)

        return function

    return make


def _urandom(world: Any) -> object:
    sources, real = world.sources, os.urandom

    def urandom(count: int, /) -> bytes:
        # As `sources.inside` says it, without the call: each id of a task asks.
        return sources.stream().bytes(count) if get_ident() == sources.thread else real(count)

    return urandom


_real_seed: Callable[..., None] = random.Random.seed


class _FileNames(random.Random):
    """Real chance, whoever asks."""

    def seed(self, a: Any = None, version: int = 2) -> None:
        _real_seed(self, a, version)


def _seed(world: Any) -> object:
    sources, real = world.sources, _real_seed

    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        if a is None and sources.inside():
            a = int.from_bytes(sources.stream().bytes(16))
        real(self, a, version)

    return seed


def make_sources(kernel: Kernel) -> _Sources:
    """The processes' generators, for a world's attribute `sources`."""
    return _Sources(kernel)


_WHY = "chance comes from the seed, and each process has its own"

_STATE = "it would read or write the state of the generator that all share, past the class that asks each process' own"

ROWS = (
    Row("random:_inst.__class__", _WHY, lambda world: _shared_class(world.sources)),
    Row("random:random", _WHY, _function("random")),
    Row("random:getrandbits", _WHY, _function("getrandbits")),
    *(Row(f"random:{name}", _STATE, _function(name)) for name in ("seed", "getstate", "setstate", "gauss")),
    Row("random:Random.seed", "a generator of the user's own, made without a seed, asks the system for one", _seed),
    Row("tempfile:_Random", "temporary files are real, and those of other runs lie beside them", lambda _: _FileNames),
    Row("random:_urandom", _WHY, _urandom),
    Row("os:urandom", _WHY, _urandom),
    Row("uuid:_generate_time_safe", "uuid1 from libuuid asks the real clock and the real network card", lambda _: None),
    Row("uuid:_UuidCreate", "as above", lambda _: None),
    Row("uuid:_last_timestamp", "uuid1 counts on from what the interpreter gave before", lambda _: None),
    Row("uuid:_node", "the real network card's address differs from machine to machine", lambda _: 0x7A5C51A0CE11),
)
