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
from typing import Any, Protocol

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

# What stands for an object that may fail to come about is its address, with a reference given away, or nothing.
_ADDRESS = ctypes.c_void_p
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
_FORMATTERS = {
    name: _definition(getattr(time, name)) for name in ("gmtime", "localtime", "ctime", "asctime", "strftime")
}
_METHODS = {
    "now": _definition(vars(datetime.datetime)["now"]),
    "utcnow": _definition(vars(datetime.datetime)["utcnow"]),
}
_DEFINITIONS = _FUNCTIONS | _FORMATTERS | _METHODS
#: The C functions themselves, by name.
_ORIGINAL: dict[str, int] = {name: definition.meth or 0 for name, definition in _DEFINITIONS.items()}

_original_time = _NO_ARGUMENTS(_ORIGINAL["time"])
_original_monotonic = _NO_ARGUMENTS(_ORIGINAL["monotonic"])


def real_time() -> float:
    """Real seconds since the epoch, whatever is replaced."""
    return float(_original_time(None, None))


def real_monotonic() -> float:
    """Real seconds of a clock that never goes back, whatever is replaced."""
    return float(_original_monotonic(None, None))


def nanoseconds(moment: datetime.datetime) -> int:
    """An aware moment as nanoseconds since 1970."""
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86400 + since.seconds) * SECOND + since.microseconds * 1000


class Looked(Protocol):
    """A kernel's agenda: its time, how often somebody looked at it within a step, and may for nothing."""

    now_ns: int
    looks: int
    monotonic: float
    free_looks: int

    def look(self) -> int:
        """The time, for a program that asks; after many looks it goes on by itself."""

    def set_monotonic(self, epoch_ns: int, offset: int) -> None:
        """What `monotonic` is: the time of day, if it was `epoch_ns` at first, less so many seconds."""


class Clocks:
    """Virtual clocks for one simulation.

    Args:
        agenda: who knows the time.

    Attributes:
        epoch_ns: the time of day at which the kernel's clock was 0, nanoseconds since 1970.
        offset: whole seconds by which the monotonic clocks are behind the time of day. They are the time of day less
            this, computed in floats, so that a program which goes from one to the other and back (kombu's timer does)
            loses nothing to rounding.
    """

    def __init__(self, agenda: Looked) -> None:
        self.agenda, self.now_ns = agenda, agenda.look
        self.epoch_ns = self.offset = 0
        self._before: dict[str, int] = {}
        self._theirs: dict[str, int] = {}
        self._travelled = False
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
        self.agenda.set_monotonic(self.epoch_ns, self.offset)

    def jump(self, seconds: int) -> None:
        """Put the time of day forward or back; the monotonic clocks go on as if nothing had happened."""
        self.epoch_ns += seconds * SECOND
        self.offset += seconds

    def install(self) -> None:
        """Replace the C functions; the calling thread is the simulation's."""
        _show(self)
        for name, address in _addresses().items():
            before = _DEFINITIONS[name].meth or 0
            self._before[name] = _ORIGINAL[name] if before == address else before
            _DEFINITIONS[name].meth = address
        self._travelled = is_travelling()

    def reassert(self) -> None:
        """Take over again after somebody else (time-machine) has replaced the functions since."""
        for name, address in _addresses().items():
            theirs = _DEFINITIONS[name].meth or 0
            if theirs != address:
                self._theirs[name] = theirs
                _DEFINITIONS[name].meth = address

    def restore(self) -> None:
        """Put back what was there before, or what a time-machine that is still at work has put there since."""
        for name, before in self._before.items():
            if is_travelling():
                before = self._theirs.get(name, before)
            elif self._travelled:
                before = _ORIGINAL[name]
            _DEFINITIONS[name].meth = before
        self._before, self._theirs = {}, {}
        _show(None)

    def leave(self) -> None:
        """From now on clocks show real time."""
        _show(None)

    def enter(self) -> None:
        """Undo `leave`."""
        _show(self)

    def instant(self, cls: Any, zone: datetime.tzinfo | None) -> Any:
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


# --- what stands in the method definitions
#
# The callbacks are made once and never freed: time-machine keeps what it found there, and puts it back whenever its
# user says so. Without a simulation they call the C functions.

#: The clocks that are shown, and the thread that sees them; 0 is no thread.
_clocks: Any = None
_thread = 0
_PROTOTYPES: dict[str, Any] = {
    **dict.fromkeys(_FUNCTIONS, _NO_ARGUMENTS), **dict.fromkeys(_FORMATTERS, _ONE_TUPLE),
    "now": _FAST_KEYWORDS, "utcnow": _ON_CLASS,
}  # fmt: skip
#: The same for ours that may fail.
_CALLBACKS: dict[str, Any] = {
    **dict.fromkeys(_FORMATTERS, ctypes.PYFUNCTYPE(_ADDRESS, ctypes.c_void_p, _OBJECT)),
    "now": ctypes.PYFUNCTYPE(_ADDRESS, _OBJECT, ctypes.POINTER(_OBJECT), ctypes.c_ssize_t, ctypes.c_void_p),
    "utcnow": ctypes.PYFUNCTYPE(_ADDRESS, _OBJECT, ctypes.c_void_p),
}
#: What all other threads get; never what time-machine has put there, which may end up here again.
_real: dict[str, Any] = {name: _PROTOTYPES[name](address) for name, address in _ORIGINAL.items()}
_callbacks: dict[str, Any] = {}
_made: dict[str, int] = {}


def _show(clocks: Clocks | None) -> None:
    global _clocks, _thread
    _clocks, _thread = clocks, 0 if clocks is None else get_ident()


def is_travelling() -> bool:
    """Is a time-machine at work?"""
    return bool(_travels())


def _travels() -> Any:
    """The stack of time-machine's travels, by its name since release 3, and before; None or empty without any."""
    machine = sys.modules.get("time_machine")
    return getattr(machine, "traveller_stack", None) or getattr(machine, "coordinates_stack", None)


def _addresses() -> dict[str, int]:
    """Addresses of our functions, by name."""
    if not _made:
        ours: dict[str, Any] = {**_functions(), **{name: _safe(_formatter(name)) for name in _FORMATTERS}}
        ours["utcnow"] = _safe(_utcnow)
        if _METHODS["now"].flags & METH_FASTCALL:
            ours["now"] = _now
        for name, function in ours.items():
            _callbacks[name] = callback = _CALLBACKS.get(name, _NO_ARGUMENTS)(function)
            _made[name] = ctypes.cast(callback, ctypes.c_void_p).value or 0
    return _made


def _seconds(name: str) -> Callable[..., float]:
    real, ident = _real[name], get_ident

    def show(s: Any = None, a: Any = None) -> float:
        if ident() != _thread:
            return float(real(s, a))
        agenda = _clocks.agenda
        if agenda.looks < agenda.free_looks:  # as `Agenda.look` does, without the call: a task asks ten times
            agenda.looks += 1
        else:
            agenda.look()
        seconds: float = agenda.monotonic
        return seconds

    return show


def _functions() -> dict[str, Callable[[Any, Any], object]]:
    ident = get_ident

    def whole(name: str) -> Callable[[Any, Any], object]:
        return lambda s, a: (
            _clocks.epoch_ns + _clocks.now_ns() - _clocks.offset * SECOND if ident() == _thread else _real[name](s, a)
        )

    return {
        "time": lambda s, a: (
            (_clocks.epoch_ns + _clocks.now_ns()) / SECOND if ident() == _thread else _real["time"](s, a)
        ),
        "time_ns": lambda s, a: _clocks.epoch_ns + _clocks.now_ns() if ident() == _thread else _real["time_ns"](s, a),
        "monotonic": _seconds("monotonic"),
        "monotonic_ns": whole("monotonic_ns"),
        "perf_counter": _seconds("perf_counter"),
        "perf_counter_ns": whole("perf_counter_ns"),
    }


_give_reference = ctypes.pythonapi.Py_IncRef
_give_reference.argtypes, _give_reference.restype = (_OBJECT,), None


def _safe(function: Callable[..., object]) -> Callable[..., int | None]:
    """For calls that may fail, for a bad argument say: nothing may be raised, so the caller gets a SystemError."""

    def called(*arguments: Any) -> int | None:
        try:
            value = function(*arguments)
        except Exception:
            return None
        _give_reference(value)
        return id(value)

    return called


def _formatter(name: str) -> Callable[[Any, tuple[Any, ...]], object]:
    """Without the argument that says when, it is now."""
    takes_fields = name in ("asctime", "strftime")
    missing = 1 if name == "strftime" else 0

    def formatted(module: Any, arguments: tuple[Any, ...]) -> object:
        if get_ident() == _thread:
            if len(arguments) == missing:
                arguments = (*arguments, time.localtime(_clocks.time()) if takes_fields else _clocks.time())
            elif not takes_fields and arguments == (None,):
                arguments = (_clocks.time(),)
        return _real[name](module, arguments)

    return formatted


def _now(cls: Any, arguments: Any, count: int, keywords: Any) -> int | None:
    # As `_safe` would make it; written out, for it is asked often.
    try:
        if get_ident() == _thread:
            value = _clocks.instant(cls, arguments[0] if count or keywords else None)
        else:
            value = _real["now"](cls, arguments, count, keywords)
    except Exception:
        return None
    _give_reference(value)
    return id(value)


def _utcnow(cls: Any, nothing: Any) -> object:
    if get_ident() != _thread:
        return _real["utcnow"](cls, nothing)
    return _clocks.instant(cls, datetime.UTC).replace(tzinfo=None)


def frozen_start_ns() -> int | None:
    """The time that freezegun or time-machine shows now, nanoseconds since 1970; None if neither is at work."""
    api = sys.modules.get("freezegun.api")
    if api is not None and api.freeze_factories:
        frozen = api.freeze_factories[-1]()
        since = frozen - datetime.datetime(1970, 1, 1)  # naive, in UTC
        seconds: int = since.days * 86400 + since.seconds
        return seconds * SECOND + int(since.microseconds) * 1000
    travels = _travels()
    if travels:
        moment: int = travels[-1].time_ns()
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
