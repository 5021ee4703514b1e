"""One table of every place that is replaced: where, why, since which release, and by what.

A row names its place as text, so that the table can be walked, listed and tested without a simulation. When a release
moves a place, `PatchMissing` says so at once.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from packaging.requirements import Requirement

from tasksim.errors import PatchMissing

#: Stands for "the place did not exist before".
_NOTHING: Any = object()


@dataclass(frozen=True, slots=True)
class Row:
    """One replaced place.

    Attributes:
        place: "module:name" or "module:Class.name"; functions have `__defaults__` as a name.
        why: the reason.
        make: makes the value that is put there, from the world.
        needs: a requirement such as "celery>=5.6": where it is not met, the row is left out.
        new: the place need not exist: the name is added, and taken away at the end.
    """

    place: str
    why: str
    make: Callable[[Any], object]
    needs: str = ""
    new: bool = False

    def applies(self) -> bool:
        """Is this row meant for the installed release?"""
        return not self.needs or is_met(self.needs)


@cache
def is_met(needs: str) -> bool:
    """Does an installed release meet this requirement? Asked once: reading a package's metadata takes 8 ms."""
    requirement = Requirement(needs)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


_owners: dict[str, tuple[Any, str]] = {}


def find(place: str) -> tuple[Any, str]:
    """The object that holds a place, and the name there.

    Raises:
        PatchMissing: the module or an attribute on the way does not exist.
    """
    known = _owners.get(place)
    if known is not None:
        return known
    module, _, path = place.partition(":")
    *way, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for step in way:
            owner = vars(owner)[step] if isinstance(owner, type) and step in vars(owner) else getattr(owner, step)
    except (ImportError, AttributeError) as exc:
        raise PatchMissing(f"{place} does not exist in the installed release: {exc}") from exc
    _owners[place] = owner, name
    return owner, name


def current_value(owner: Any, name: str) -> object:
    """What stands at a place now, unbound; `_NOTHING` where there is nothing."""
    if isinstance(owner, type):
        return vars(owner).get(name, _NOTHING)
    return getattr(owner, name, _NOTHING)


def resemble(value: object, old: object, owner: object) -> None:
    """Give a function of ours the name and the signature of the one that it replaces.

    Other tools wrap Celery's functions by their signatures, and a task may take `time.sleep` as an argument: pickle
    writes a function by its name.
    """
    if type(value) is FunctionType and value.__closure__ and callable(old) and "__wrapped__" not in vars(value):
        functools.update_wrapper(value, old, updated=())
        if isinstance(owner, ModuleType):
            value.__module__ = owner.__name__  # os.getpid calls itself posix.getpid, which is not replaced


class Patches:
    """Rows that are in force, and how to take them back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, object]] = []
        self._items: list[tuple[dict[str, Any], str, object]] = []
        self._calls: list[Callable[[], None]] = []
        self._modules = frozenset(sys.modules)

    def install(self, rows: Iterable[Row], world: Any) -> None:
        """Put each row's value in its place.

        Raises:
            PatchMissing: a place does not exist; what was replaced so far stays so until `restore`.
        """
        for row in rows:
            if row.applies():
                self._replace(row, world)

    def _replace(self, row: Row, world: Any) -> None:
        owner, name = find(row.place)
        old = current_value(owner, name)
        if old is _NOTHING and not row.new and not hasattr(owner, name):
            raise PatchMissing(
                f"{row.place} does not exist in the installed release; tasksim replaces it because {row.why}. "
                "Please report this with the versions of celery, kombu, billiard and redis."
            )
        value = row.make(world)
        resemble(value, old, owner)
        self.set(owner, name, value, old)

    def set(self, owner: Any, name: str, value: object, old: object = _NOTHING) -> None:
        """Set an attribute now, and back at the end; for places that are found, not listed."""
        self._undo.append((owner, name, current_value(owner, name) if old is _NOTHING else old))
        setattr(owner, name, value)

    def set_item(self, namespace: dict[str, Any], name: str, value: object) -> None:
        """Set an item of a namespace now, and back at the end."""
        self._items.append((namespace, name, namespace.get(name, _NOTHING)))
        namespace[name] = value

    def on_restore(self, function: Callable[[], None]) -> None:
        """Call this when everything is taken back, before the rest."""
        self._calls.append(function)

    def _mend_new_modules(self) -> None:
        """A module that was imported in the meantime may have taken a replacement by name."""
        originals = {
            id(vars(owner)[name]): old
            for owner, name, old in reversed(self._undo)
            if isinstance(owner, ModuleType) and old is not _NOTHING and callable(vars(owner).get(name))
        }
        for module in [one for name, one in list(sys.modules.items()) if name not in self._modules]:
            if isinstance(module, ModuleType):
                for name, value in list(vars(module).items()):
                    if id(value) in originals:
                        setattr(module, name, originals[id(value)])

    def restore(self) -> None:
        """Take everything back, the last first."""
        self._mend_new_modules()
        self._modules = frozenset()  # frames of the dead keep this object
        while self._calls:
            self._calls.pop()()
        while self._items:
            namespace, name, old = self._items.pop()
            if old is _NOTHING:
                namespace.pop(name, None)
            else:
                namespace[name] = old
        while self._undo:
            owner, name, old = self._undo.pop()
            if old is _NOTHING:
                if current_value(owner, name) is not _NOTHING:
                    delattr(owner, name)
            else:
                setattr(owner, name, old)
