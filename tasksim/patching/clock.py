"""The clocks of the standard library, replaced below Python.

The C function behind `time.time`, `time.monotonic`, `datetime.now` and their like is exchanged in its method
definition. That reaches every reference at once: from-imports, default arguments, asyncio's loop. It is how
time-machine does it in C; ctypes does it here. Nothing may be raised inside such a function, and no greenlet may switch
there, so `time.sleep`, which has to do both, is a Python-level replacement (see `names.py`).

Only the thread in which the simulation runs sees virtual time, and pytest's own timers do not (`_pytest.timing`).
"""

from __future__ import annotations

import ctypes
import datetime
import sys
import time
from _thread import get_ident
from collections.abc import Callable
from typing import Any

#: `time.monotonic` and `time.perf_counter` begin here (seconds): nobody should take them for the time of day.
MONOTONIC_START = 1000
SECOND = 1_000_000_000


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("meth", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_HEAD = object.__basicsize__
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_OBJECT = ctypes.py_object

_NO_ARGUMENTS = ctypes.PYFUNCTYPE(_OBJECT, ctypes.c_void_p, ctypes.c_void_p)
_ONE_TUPLE = ctypes.PYFUNCTYPE(_OBJECT, ctypes.c_void_p, _OBJECT)
_FAST_KEYWORDS = ctypes.PYFUNCTYPE(_OBJECT, _OBJECT, ctypes.POINTER(_OBJECT), ctypes.c_ssize_t, ctypes.c_void_p)
_ON_CLASS = ctypes.PYFUNCTYPE(_OBJECT, _OBJECT, ctypes.c_void_p)

METH_VARARGS, METH_KEYWORDS, METH_NOARGS, METH_FASTCALL = 0x01, 0x02, 0x04, 0x80


def _definition(function: Any) -> _MethodDef:
    """The method definition of a builtin function or of a method of a builtin class."""
    # PyCFunctionObject has it right behind the head; PyMethodDescrObject behind type, name and qualified name.
    offset = _HEAD if type(function) is type(time.time) else _HEAD + 3 * _POINTER
    address = ctypes.c_void_p.from_address(id(function) + offset).value
    assert address is not None
    return _MethodDef.from_address(address)


_FUNCTIONS = {
    name: _definition(getattr(time, name))
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
}
_FORMATTERS = {name: _definition(getattr(time, name)) for name in ("gmtime", "localtime", "ctime")}
_NOW = _definition(vars(datetime.datetime)["now"])
_UTCNOW = _definition(vars(datetime.datetime)["utcnow"])

_real_time_ns = time.clock_gettime_ns


def real_time() -> float:
    """Real seconds since the epoch, whatever is replaced."""
    return _real_time_ns(time.CLOCK_REALTIME) / SECOND


def real_monotonic() -> float:
    """Real seconds of a clock that never goes back, whatever is replaced."""
    return _real_time_ns(time.CLOCK_MONOTONIC) / SECOND


class Clocks:
    """Virtual clocks for one simulation.

    Args:
        now_ns: virtual nanoseconds since the start of the kernel.

    Attributes:
        epoch_ns: the time of day at which the kernel's clock was 0, nanoseconds since 1970.
        offset: whole seconds by which the monotonic clocks are behind the time of day. They are the time of day less
            this, computed in floats, so that a program which goes from one to the other and back (kombu's timer does)
            loses nothing to rounding.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.epoch_ns = self.offset = 0
        self._installed: list[tuple[_MethodDef, int, int]] = []
        self._kept: list[object] = []
        #: The last answer to `datetime.now(UTC)`, and when that was: at one instant many ask.
        self._shown: tuple[int, Any] = (-1, None)

    def time(self) -> float:
        """Virtual seconds since the epoch."""
        return (self.epoch_ns + self.now_ns()) / SECOND

    def set_start(self, start_ns: int, lead_ns: int = 0, *, frozen_by_freezegun: bool = False) -> None:
        """Say what time of day it is when the kernel's clock has come to `lead_ns`.

        The monotonic clocks show the same at the start whatever the lead: a test may have looked at them before.
        freezegun shows the time of day for the monotonic clocks too; where it is at work they have to be the same.
        """
        self.epoch_ns = start_ns - lead_ns
        self.offset = 0 if frozen_by_freezegun else start_ns // SECOND - MONOTONIC_START

    def install(self) -> None:
        """Replace the C functions; the calling thread is the simulation's."""
        if not self._installed:
            self._prepare()
        for definition, ours, _ in self._installed:
            definition.meth = ours

    def reassert(self) -> None:
        """Take over again after somebody else (time-machine) has replaced the functions since."""
        for definition, ours, _ in self._installed:
            definition.meth = ours

    def restore(self) -> None:
        """Put back what was there before."""
        for definition, _, before in self._installed:
            definition.meth = before
        self._installed = []

    def _prepare(self) -> None:
        real: dict[str, Any] = {name: _NO_ARGUMENTS(definition.meth or 0) for name, definition in _FUNCTIONS.items()}
        for name, function in self._functions(real).items():
            self._add(_FUNCTIONS[name], _NO_ARGUMENTS(function))
        for definition in _FORMATTERS.values():
            self._add(definition, self._formatter(_ONE_TUPLE(definition.meth or 0)))
        if _NOW.flags & METH_FASTCALL:
            self._add(_NOW, self._fast_now(_FAST_KEYWORDS(_NOW.meth or 0)))
        self._add(_UTCNOW, self._utcnow(_ON_CLASS(_UTCNOW.meth or 0)))

    def _add(self, definition: _MethodDef, callback: Any) -> None:
        self._kept.append(callback)
        address = ctypes.cast(callback, ctypes.c_void_p).value
        assert address is not None
        self._installed.append((definition, address, definition.meth or 0))

    def _functions(self, real: dict[str, Any]) -> dict[str, Callable[[Any, Any], object]]:
        ours, now_ns = get_ident(), self.now_ns
        time_, time_ns = real["time"], real["time_ns"]
        monotonic, monotonic_ns = real["monotonic"], real["monotonic_ns"]
        counter, counter_ns = real["perf_counter"], real["perf_counter_ns"]
        ident = get_ident

        def whole() -> int:
            return self.epoch_ns + now_ns() - self.offset * SECOND

        return {
            "time": lambda s, a: (self.epoch_ns + now_ns()) / SECOND if ident() == ours else time_(s, a),
            "time_ns": lambda s, a: self.epoch_ns + now_ns() if ident() == ours else time_ns(s, a),
            "monotonic": lambda s, a: (
                (self.epoch_ns + now_ns()) / SECOND - self.offset if ident() == ours else monotonic(s, a)
            ),
            "monotonic_ns": lambda s, a: whole() if ident() == ours else monotonic_ns(s, a),
            "perf_counter": lambda s, a: (
                (self.epoch_ns + now_ns()) / SECOND - self.offset if ident() == ours else counter(s, a)
            ),
            "perf_counter_ns": lambda s, a: whole() if ident() == ours else counter_ns(s, a),
        }

    def _formatter(self, real: Any) -> Any:
        ours = get_ident()

        def formatted(module: Any, arguments: tuple[Any, ...]) -> object:
            if not arguments and get_ident() == ours:
                arguments = (self.time(),)
            return real(module, arguments)

        return _ONE_TUPLE(formatted)

    def _fast_now(self, real: Any) -> Any:
        ours = get_ident()

        def now(cls: Any, arguments: Any, count: int, keywords: Any) -> object:
            if get_ident() != ours:
                return real(cls, arguments, count, keywords)
            return self._instant(cls, arguments[0] if count or keywords else None)

        return _FAST_KEYWORDS(now)

    def _utcnow(self, real: Any) -> Any:
        ours = get_ident()

        def utcnow(cls: Any, nothing: Any) -> object:
            if get_ident() != ours:
                return real(cls, nothing)
            return self._instant(cls, datetime.UTC).replace(tzinfo=None)

        return _ON_CLASS(utcnow)

    def _instant(self, cls: Any, zone: datetime.tzinfo | None) -> Any:
        """The present as a datetime; whole microseconds, cut off as CPython does, not by way of a float."""
        now_ns = self.epoch_ns + self.now_ns()
        common = zone is datetime.UTC and cls is datetime.datetime
        if common and self._shown[0] == now_ns:
            return self._shown[1]
        seconds, rest = divmod(now_ns, SECOND)
        moment = cls.fromtimestamp(seconds, zone).replace(microsecond=rest // 1000)
        if common:
            self._shown = now_ns, moment
        return moment


def frozen_start_ns() -> int | None:
    """The time that freezegun or time-machine shows now, nanoseconds since 1970; None if neither is at work."""
    api = sys.modules.get("freezegun.api")
    if api is not None and api.freeze_factories:
        frozen = api.freeze_factories[-1]()
        since = frozen - datetime.datetime(1970, 1, 1)  # naive, in UTC
        seconds: int = since.days * 86400 + since.seconds
        return seconds * SECOND + int(since.microseconds) * 1000
    machine = sys.modules.get("time_machine")
    if machine is not None and getattr(machine, "coordinates_stack", None):
        moment: int = machine.coordinates_stack[-1].time_ns()
        return moment
    return None


def take_over_freezegun(patches: Any, clocks: Clocks) -> bool:
    """Let a freezegun that is at work show virtual time; True if there is one.

    Its names stay where they are, in the modules it has searched: they ask its latest factory, which is exchanged.
    """
    api = sys.modules.get("freezegun.api")
    if api is None or not api.freeze_factories:
        return False
    factories = api.freeze_factories
    epoch = datetime.datetime(1970, 1, 1)  # naive, in UTC, as freezegun has it
    if getattr(factories[-1], "tasksim_clocks", None) is clocks:
        return True

    def show() -> datetime.datetime:
        microseconds = (clocks.epoch_ns + clocks.now_ns()) // 1000
        return epoch + datetime.timedelta(microseconds=microseconds)

    show.tasksim_clocks = clocks  # type: ignore[attr-defined]
    patches.on_restore(_give_back(factories, factories[-1], show))
    factories[-1] = show
    return True


def _give_back(factories: list[Any], before: Any, ours: Any) -> Callable[[], None]:
    def give_back() -> None:
        for index, factory in enumerate(factories):
            if factory is ours:
                factories[index] = before

    return give_back
