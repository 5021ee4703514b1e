"""Scenario files as tests: `pytest scenarios/` runs them.

Which YAML files are scenarios is never guessed. A file is one if it begins with the key `version`, and stands in a
folder of the ini key `tasksim_scenarios` or is named on the command line itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ScenarioFailed", "ScenarioFile", "ScenarioItem", "add_options", "collect"]

_INI = "tasksim_scenarios"
#: The folders of the ini key, found to be there.
_folders = pytest.StashKey[list[Path]]()


class ScenarioFailed(Exception):
    """A scenario whose expectations do not all hold; the text says which, and how to repeat the run."""


def add_options(parser: pytest.Parser) -> None:
    """The ini key."""
    parser.addini(_INI, "folders (from the ini file's) whose YAML files are scenarios", type="paths", default=[])


def check_folders(config: pytest.Config) -> None:
    """Are the folders of the ini key there?

    Raises:
        pytest.UsageError: one is not.
    """
    config.stash[_folders] = folders = [Path(folder).resolve() for folder in config.getini(_INI)]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise pytest.UsageError(
            f"the ini key {_INI} names {', '.join(missing)}, and there is no such folder; make it, or mend the key "
            "(folders are separated by spaces or line ends; one with a space in its name stands in quotes)"
        )


def collect(path: Path, parent: pytest.Collector, seed: int | None) -> pytest.Collector | None:
    """The collector of a scenario file; None if the file is none.

    Args:
        path: of any file.
        parent: the folder's collector.
        seed: in place of the scenarios' own; None if nobody asked for one.
    """
    if path.suffix not in (".yaml", ".yml") or not _is_meant(path, parent.config) or not _begins_as_one(path):
        return None
    file: ScenarioFile = ScenarioFile.from_parent(parent, path=path)
    file.seed = seed
    return file


def _is_meant(path: Path, config: pytest.Config) -> bool:
    named = [(config.invocation_params.dir / str(word).split("::")[0]).resolve() for word in config.args]
    return path.resolve() in named or any(folder in path.resolve().parents for folder in config.stash[_folders])


def _begins_as_one(path: Path) -> bool:
    from tasksim.scenario import begins_as_scenario

    return begins_as_scenario(path)


class ScenarioFile(pytest.File):
    """A file that holds one scenario."""

    seed: int | None = None

    def collect(self) -> Iterable[pytest.Item]:
        """The one test in it, named after the file."""
        item: ScenarioItem = ScenarioItem.from_parent(self, name=self.path.stem)
        item.seed = self.seed
        yield item


class ScenarioItem(pytest.Item):
    """A scenario as a test."""

    seed: int | None = None
    outcome: Any = None

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        #: Fixtures: none. Plugins (pytest-docker-tools) ask every item that fails, as if it were a function.
        self.funcargs: dict[str, object] = {}

    def runtest(self) -> None:
        """Run it; what does not hold is an error."""
        from tasksim.scenario import load, run_scenario

        self.outcome = outcome = run_scenario(load(self._shown()), seed=self.seed)
        if not outcome.ok:
            raise ScenarioFailed("\n".join([*outcome.lines, f"again: {outcome.command}"]))

    def _shown(self) -> str:
        """The path as people would write it here."""
        here = self.config.invocation_params.dir
        return str(self.path.relative_to(here)) if self.path.is_relative_to(here) else str(self.path)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What does not hold, the last events, and the command that repeats the run; of other errors the traceback."""
        from tasksim.errors import TasksimError
        from tasksim.report.failure import failure

        if isinstance(excinfo.value, ScenarioFailed):
            events = failure(self.outcome.trace)
            return "\n".join([*self.outcome.lines, "", events, "", f"again: {self.outcome.command}"])
        if isinstance(excinfo.value, TasksimError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it stands."""
        return self.path, 0, f"scenario {self.name}"
