"""`threading.local` for simulated threads, which are greenlets of one OS thread.

CPython finds an OS thread's values by something that its thread state refers to: up to 3.12 a dictionary that holds the
values of every thread-local of this thread, since 3.13 a key under which each thread-local keeps them. Here each
simulated thread has such a thing of its own, and the reference is exchanged when another one runs: one pointer, however
many thread-locals there are. Where the reference is, is found out by looking for its known value; on an interpreter
where it is not found, simulated threads share their thread-locals.

Only the thread state of the thread in which the simulation runs is written to, and at the end it is as before.
"""

from __future__ import annotations

import asyncio.events
import collections
import copy
import ctypes
import gc
import sys
import threading
import weakref
from typing import Any

__all__ = ["Store", "ThreadLocals"]

_state = ctypes.pythonapi.PyThreadState_Get
_state.restype = ctypes.c_void_p
_dictionary = ctypes.pythonapi.PyThreadState_GetDict
_dictionary.restype = ctypes.c_void_p  # it is borrowed

_WORD = ctypes.sizeof(ctypes.c_void_p)
#: So many words of the thread state are looked through; it is larger in all releases that are served.
_WORDS = 48
#: Where a dictionary of Python 3.11 and 3.12 has the tag that changes whenever its contents do.
_TAG = object.__basicsize__ + _WORD
#: How those releases name a thread-local in the dictionary of a thread; its address follows.
_PREFIX = "thread.local."
_IN_DICTIONARY = sys.version_info < (3, 13)

_attributes = threading.local.__getattribute__


#: A value of one of these types is copied for another process; anything else is the same object in both.
_CONTAINERS = (list, dict, set, bytearray, collections.deque)


def _copy(value: Any) -> Any:
    return copy.copy(value) if type(value) in _CONTAINERS else value


def _has_values(found: tuple[Any, dict[str, Any]]) -> bool:
    return bool(found[1])


def _object_at(address: int) -> Any:
    return ctypes.cast(address, ctypes.py_object).value


class _Dictionary:
    """Python 3.11 and 3.12. A dictionary knows the thread-locals by their addresses.

    When a thread-local goes, it is struck out of the dictionaries of all *real* threads. It must not go while a
    dictionary that does not stand knows it, so it is kept (in `kept`, by name) from the first time that one is left
    until the simulation ends.

    Attributes:
        words: what the thread state refers to while this stands.
        seen: the tag when it was last looked through.
    """

    __slots__ = ("entries", "kept", "seen", "tag", "words")

    def __init__(self, entries: dict[str, Any], kept: dict[str, Any]) -> None:
        self.entries, self.kept, self.words = entries, kept, (id(entries),)
        self.tag = (ctypes.c_uint64 * 1).from_address(id(entries) + _TAG)
        self.seen = -1

    def locals(self) -> list[Any]:
        """The thread-locals that have values here; to be asked only while it stands, or as it is left."""
        kept = self.kept
        names = [name for name in self.entries if isinstance(name, str) and name.startswith(_PREFIX)]
        for name in names:
            if name not in kept:
                kept[name] = _object_at(int(name[len(_PREFIX) :], 16))
        return [kept[name] for name in names]

    def __del__(self) -> None:
        # asyncio remembers the running loop's holder of the thread that was last asked, without a reference of its
        # own; it may be in these entries.
        if asyncio is not None and "__asyncio_running_event_loop__" in self.entries:
            asyncio.events._set_running_loop(asyncio.events._get_running_loop())


class _Key:
    """Python 3.13. Each thread-local has a dictionary by such keys, and drops the entry when the sentinel goes.

    The store itself is the sentinel.

    Attributes:
        words: what the thread state refers to while this stands.
    """

    __slots__ = ("__weakref__", "_sentinel", "key", "words")

    def __init__(self, key: Any, sentinel: Any = None) -> None:
        self.key, self._sentinel = key, sentinel
        self.words = id(key), id(self if sentinel is None else sentinel)

    def locals(self) -> list[Any]:
        """The thread-locals that have values here."""
        found = []
        for reference in weakref.getweakrefs(self if self._sentinel is None else self._sentinel):
            local = getattr(reference.__callback__, "__self__")[0]()  # noqa: B009 (typed as a plain function)
            if local is not None:
                found.append(local)
        return found


#: The values of all thread-locals for one simulated thread.
Store = _Dictionary | _Key


def _find_words(values: tuple[int, ...]) -> int | None:
    """Where in the thread state these words stand, one after the other; None if not exactly once."""
    base = _state()
    words = [ctypes.c_size_t.from_address(base + index * _WORD).value for index in range(_WORDS)]
    found = [index for index in range(_WORDS) if tuple(words[index : index + len(values)]) == values]
    return base + found[0] * _WORD if len(found) == 1 else None


def _outer(kept: dict[str, Any]) -> Store | None:
    """What the running OS thread has; None if it cannot be found."""
    probe = threading.local()
    probe.value = True
    if _IN_DICTIONARY:
        return _Dictionary(_object_at(_dictionary()), kept)
    dictionaries = [one for one in gc.get_referents(probe) if type(one) is dict and list(one.values()) == [vars(probe)]]
    if len(dictionaries) != 1:
        return None
    (key,) = dictionaries[0]
    for sentinel in [one() for one in _sentinels(probe)]:
        if sentinel is not None and _find_words((id(key), id(sentinel))) is not None:
            return _Key(key, sentinel)
    return None


def _sentinels(local: Any) -> list[Any]:
    """Weak references that a thread-local keeps to the sentinels of threads."""
    sets = [one for one in gc.get_referents(local) if type(one) is set]
    return [reference for one in sets for reference in one if isinstance(reference, weakref.ref)]


class ThreadLocals:
    """Thread-locals of each simulated thread's own, in the OS thread that makes this.

    Attributes:
        outer: what stands at first and at the end: the test's own; None where it cannot be exchanged.
        standing: the store whose values are seen now.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self.outer: Store | None = _outer(self._kept)
        self.standing: Store | None = self.outer
        place = None if self.outer is None else _find_words(self.outer.words)
        if self.outer is not None and place is not None:
            self._slots: Any = (ctypes.c_size_t * len(self.outer.words)).from_address(place)
        if self.outer is None or place is None or not self._works():
            self.outer = self.standing = None
        self._first = self._contents()

    def _works(self) -> bool:
        """Try it: what is set in one store is not seen in another, and is there again afterwards."""
        probe, outer, other = threading.local(), self.outer, self.new()
        probe.value = 1
        self.stand(other)
        apart = not hasattr(probe, "value")
        probe.value = 2
        self.stand(outer)
        back = probe.value == 1
        self.stand(other)
        kept = bool(probe.value == 2)
        self.stand(outer)
        return apart and back and kept

    def new(self) -> Store | None:
        """The thread-locals of a new thread: none has a value."""
        if self.outer is None:
            return None
        return _Dictionary({}, self._kept) if _IN_DICTIONARY else _Key(object())

    def stand(self, store: Store | None) -> None:
        """Let these values be seen from now on."""
        before = self.standing
        if store is None or before is None:
            return
        if store.__class__ is _Dictionary:
            assert isinstance(before, _Dictionary)
            if before.tag[0] != before.seen:
                before.seen = before.tag[0]
                before.locals()
            self._slots[0] = store.words[0]
        else:
            self._slots[:] = store.words
        self.standing = store

    def _contents(self) -> dict[int, tuple[Any, dict[str, Any]]]:
        if self.standing is None:
            return {}
        return {
            id(one): (one, {name: _copy(value) for name, value in _attributes(one, "__dict__").items()})
            for one in self.standing.locals()
        }

    def program(self) -> Store | None:
        """For a program that has just been started: what its imports have set, which is what there was at the start."""
        return self._filled({**self._contents(), **self._first})

    def fork(self) -> Store | None:
        """For a child of the running thread: what that thread has."""
        return self._filled(self._contents())

    def _filled(self, contents: dict[int, tuple[Any, dict[str, Any]]]) -> Store | None:
        """A new store in which each of these thread-locals has these values; their classes' `__init__` is called."""
        store, before = self.new(), self.standing
        if store is None:
            return None
        self.stand(store)
        try:
            for local, values in filter(_has_values, contents.values()):
                own = _attributes(local, "__dict__")
                own.clear()
                own.update({name: _copy(value) for name, value in values.items()})
        finally:
            self.stand(before)
        return store

    def close(self) -> None:
        """The test's own values stand again, and no other store will stand any more: thread-locals may go."""
        self.stand(self.outer)
        self._first = {}
        self._kept.clear()
