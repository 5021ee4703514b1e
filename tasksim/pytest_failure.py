"""What a failing test says: a section of the report, a file with the whole trace, and the line that repeats the run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasksim.simulation import Simulation

__all__ = ["add_options", "begin_watching", "end_watching", "explain", "remember", "running", "trace_file"]

WITH_GIVEN = (
    "A test with @given runs many times within one `sim`. Write `with tasksim.Simulation(app) as sim:` in its body "
    "instead; then each example has a simulation of its own."
)

TOO_EARLY = (
    "A fixture published this before the simulation began, to the real broker. Let the fixture ask for `sim`, or name "
    "`sim` before it."
)

#: The simulation of a test, and pytest's folders.
_running = pytest.StashKey[tuple["Simulation", pytest.TempPathFactory]]()
#: The simulations that tests open by themselves.
_openings = pytest.StashKey["Openings"]()
#: The note on an error; compiled when there is one.
_AGAIN = r"seed -?\d+, again: pytest "
#: Longest part of a file name that comes from a test's name, in letters.
_SLUG = 100
#: Packages whose frames say nothing of why the simulation had to stop.
_BETWEEN = frozenset({"tasksim", "celery", "kombu", "billiard", "vine", "amqp", "redis", "greenlet"})
_PYTEST = frozenset({"pytest", "_pytest", "pluggy", "pytest_asyncio"})


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """The option and the ini key."""
    group.addoption(
        "--tasksim-traces",
        metavar="DIR",
        help="folder for the traces of failed tests (default: tasksim_traces, then tasksim/ in pytest's --basetemp)",
    )
    parser.addini("tasksim_traces", "folder (from the ini file's) for the traces of failed tests", default="")


def remember(item: pytest.Item, simulation: Simulation, folders: pytest.TempPathFactory) -> None:
    """This simulation is the test's."""
    item.stash[_running] = simulation, folders


class Openings:
    """The simulations that tests open by themselves: `with tasksim.Simulation(...)`.

    Attributes:
        latest: the last one; kept until its test is over, or as long as it runs.
        count: how many this test has opened.
    """

    def __init__(self) -> None:
        self.latest: Simulation | None = None
        self.count = 0

    def note(self, simulation: Simulation) -> None:
        """It has just begun."""
        self.latest, self.count = simulation, self.count + 1

    def forget(self) -> None:
        """A test is over; a fixture's simulation may go on."""
        self.count = 0
        if self.latest is not None and not self.latest._world.open:
            self.latest = None


def begin_watching(config: pytest.Config) -> None:
    """From the first test on: note the simulations that tests open."""
    if _openings not in config.stash:
        from tasksim.opened import watchers

        config.stash[_openings] = openings = Openings()
        watchers.append(openings.note)


def end_watching(config: pytest.Config) -> None:
    """At the end of the session."""
    if _openings in config.stash:
        from tasksim.opened import watchers

        watchers.remove(config.stash[_openings].note)
        del config.stash[_openings]


def _opened(item: pytest.Item) -> Openings:
    return item.config.stash.get(_openings, None) or Openings()


def running(item: pytest.Item) -> Simulation | None:
    """The test's simulation, if it has one that runs."""
    if _running in item.stash:
        return item.stash[_running][0]
    latest = _opened(item).latest
    return latest if latest is not None and latest._world.open else None


#: What ends a test and is no failure of it.
_NO_FAILURES = (KeyboardInterrupt, pytest.exit.Exception, pytest.skip.Exception, pytest.xfail.Exception)


def explain(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """If this phase of a test with a simulation failed: add the section, and the line that repeats the run."""
    error = None if call.excinfo is None else call.excinfo.value
    if error is not None and "tasksim.errors" in sys.modules and not item.config.getoption("fulltrace", False):
        _shorten(error)
    if _running in item.stash or _opened(item).latest is not None:
        if error is not None and not isinstance(error, _NO_FAILURES) and not _was_expected(item, error):
            _add_section(item, call.when, error)
    elif error is not None and call.when == "setup" and "sim" in getattr(item, "fixturenames", ()):
        _explain_too_early(error)
    if call.when == "teardown":
        _opened(item).forget()
        if _running in item.stash:
            del item.stash[_running]  # items live as long as the session


def _was_expected(item: pytest.Item, error: BaseException) -> bool:
    """The test is marked to fail so: nobody reads why, and to find out takes a while."""
    from _pytest.skipping import xfailed_key

    mark = None if item.config.option.runxfail else item.stash.get(xfailed_key, None)
    if mark is None or mark.raises is None:
        return mark is not None
    expected: Any = mark.raises
    matches = getattr(expected, "matches", None)  # pytest.RaisesExc
    return bool(isinstance(error, expected) if matches is None else matches(error))


def _explain_too_early(error: BaseException) -> None:
    """A fixture that publishes before `sim` is set up reaches for the real broker."""
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == "send_task" and _package(frame) == "celery":
            _note(error, TOO_EARLY)
            return
        frame = frame.tb_next


def _add_section(item: pytest.Item, when: str, error: BaseException) -> None:
    from tasksim.report.failure import failure

    replay = f"pytest {shlex.quote(_from_here(item.config, item.nodeid))}"
    lines = []
    if _running in item.stash:
        simulation, folders = item.stash[_running]
        replay += f" --tasksim-seed={simulation.seed}"
    else:  # its seed stands in the test
        openings, folders = _opened(item), item.config._tmp_path_factory  # type: ignore[attr-defined]
        assert openings.latest is not None
        simulation = openings.latest
        if openings.count > 1:
            lines.append(f"of the {openings.count} simulations of this test, the last:")
    if item.config.pluginmanager.hasplugin("randomly"):  # it seeds what the test itself draws
        replay += f" --randomly-seed={item.config.getoption('randomly_seed')}"
    again = f"seed {simulation.seed}, again: {replay}"
    lines.append(failure(simulation.trace, simulation.facts()))
    if len(simulation.trace):
        lines.append(f"all {len(simulation.trace)} events: {_write(item, simulation, folders)}")
    item.add_report_section(when, "tasksim", "\n".join([*lines, again]))
    item.user_properties[:] = [kept for kept in item.user_properties if kept[0] != "tasksim_replay"]
    item.user_properties.append(("tasksim_replay", replay))
    if type(error).__name__ == "FailedHealthCheck":
        _note(error, WITH_GIVEN)
    _note(error, again)


def _from_here(config: pytest.Config, nodeid: str) -> str:
    """The test's id as it is written in the folder where pytest was started."""
    path, colons, name = nodeid.partition("::")
    here = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    return here.replace(os.sep, "/") + colons + name


def _note(error: BaseException, text: str) -> None:
    """Say it once, and of this test only: an error may be raised again by test after test."""
    earlier = getattr(error, "__notes__", [])
    earlier[:] = [note for note in earlier if note != text and not re.match(_AGAIN, note)]
    error.add_note(text)


# --- the file


def trace_file(config: pytest.Config, basetemp: Path, nodeid: str) -> Path:
    """Where the trace of a test goes; the folder may not be there yet.

    Args:
        basetemp: pytest's own folder for this run (of this worker, with xdist).
    """
    said = config.getoption("--tasksim-traces") or ""
    if said:
        folder = config.invocation_params.dir / said
    elif config.getini("tasksim_traces"):
        folder = config.rootpath / config.getini("tasksim_traces")
    else:
        folder = basetemp / "tasksim"
    slug = re.sub(r"[^\w.-]+", "-", nodeid).strip("-")[:_SLUG]
    return folder / f"{slug}-{sha256(nodeid.encode()).hexdigest()[:8]}.jsonl"  # what was left out may tell two apart


def _write(item: pytest.Item, simulation: Simulation, folders: pytest.TempPathFactory) -> Path | str:
    """The trace as a file: where it is, or why it is not."""
    try:
        path = trace_file(item.config, folders.getbasetemp(), item.nodeid)
        path.parent.mkdir(parents=True, exist_ok=True)
        simulation.trace.metadata["test"] = item.nodeid
        simulation.trace.save(path)
    except (OSError, ValueError) as problem:
        return f"not written ({problem})"
    return path


# --- the traceback


def _shorten(error: BaseException) -> None:
    """Of an error of our own, or a time limit's, show the frames down to the test's last one.

    Those below are tasksim's and Celery's.
    """
    from tasksim.errors import TasksimError

    if not isinstance(error, TasksimError | pytest.fail.Exception) or error.__traceback__ is None:
        return
    frames = [error.__traceback__]
    while frames[-1].tb_next is not None:
        frames.append(frames[-1].tb_next)
    packages = [_package(one) for one in frames]
    own = [place for place, package in enumerate(packages) if package not in _BETWEEN | _PYTEST]
    if own:
        frames[own[-1]].tb_next = None
    else:  # in a fixture of ours: one frame, so that pytest has something to show
        runner = [place for place, package in enumerate(packages) if package in _PYTEST]
        if runner and runner[-1] < len(frames) - 1:
            frames[runner[-1]].tb_next = frames[-1]


def _package(frame: TracebackType) -> str:
    return str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
