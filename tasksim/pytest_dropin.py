"""The drop-in under pytest: with `tasksim_dropin = true` the tests of a session run in one world.

It opens before the first test is set up, so that locks, threads and workers which fixtures make are its own, and ends
with the session. A test with the fixture `sim` has a world of its own, for which this one makes room if nothing lives
in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasksim.dropin import DropIn

NO_ROOM = (
    "this test asks for `sim`, a world of its own, and in the drop-in's world there still live: {names}. Run such "
    "tests in a session of their own, or stop the session's workers before."
)
#: Names that a fixture gives to a simulation of one test.
SIM = "sim"


def add_options(parser: pytest.Parser) -> None:
    """The ini keys."""
    parser.addini(
        "tasksim_dropin",
        "run all tests in one simulated world: celery.contrib.pytest's fixtures, start_worker, and workers in threads",
        type="bool",
        default=False,
    )
    parser.addini(
        "tasksim_allow", "hosts (or host:port) to which the drop-in lets real connections pass", type="args", default=[]
    )
    parser.addini(
        "tasksim_start", "when the drop-in's world begins: an ISO 8601 instant with an offset, or `now`", default=""
    )


def _instant(text: str) -> datetime | str:
    """What the ini key says, as a `Simulation` takes it."""
    if text == "now":
        return text
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        start = None
    if start is None or start.tzinfo is None:
        raise pytest.UsageError(
            f"tasksim_start = {text}: give an instant with an offset, such as 2026-03-29T00:30:00+00:00, or now"
        )
    return start


class DropInSession:
    """The world of one session.

    Args:
        seed: of the world.
        note: called with each test and the world in which it runs.
    """

    def __init__(self, config: pytest.Config, seed: int, note: Callable[[pytest.Item, Any], None]) -> None:
        self._allow, self._seed, self._note = config.getini("tasksim_allow"), seed, note
        self._start = config.getini("tasksim_start").strip()
        self.world: DropIn | None = None

    def opened(self) -> DropIn:
        """The world, which opens now if it is not open."""
        if self.world is None:
            before = frozenset(sys.modules)
            from tasksim.dropin import DropIn

            start = _instant(self._start) if self._start else None
            self.world = DropIn(seed=self._seed, allow=self._allow, start=start).__enter__()
            self.world.imported_before(before)
        return self.world

    def _end(self) -> None:
        world, self.world = self.world, None
        if world is not None:
            world.end()

    def _make_room(self) -> None:
        if self.world is not None:
            names = self.world.lives()
            if names:
                from tasksim.errors import UsageError

                raise UsageError(NO_ROOM.format(names=", ".join(names)))
            self._end()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before any fixture."""
        if SIM in getattr(item, "fixturenames", ()):
            self._make_room()
        else:
            world = self.opened()
            world.forget_published()
            self._note(item, world)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """After all fixtures of the test: its garbage goes while no worker is in the middle of something."""
        yield
        if self.world is not None:
            self.world.collect()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """After the last fixture of the session."""
        self._end()
