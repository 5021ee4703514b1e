"""Scenario files as tests: `pytest scenarios/` runs them.

Which YAML files are scenarios is never guessed. A file is one if it begins with the key `version`, and stands in a
folder of the ini key `tasksim_scenarios` or is named on the command line itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ScenarioFailed", "ScenarioFile", "ScenarioItem", "add_options", "collect"]

#: The first line that is neither empty nor a comment.
_FIRST = r"\A(?:\s*(?:#[^\n]*)?\n|---[^\n]*\n)*version\s*:"


class ScenarioFailed(Exception):
    """A scenario whose expectations do not all hold; the text says which, and how to repeat the run."""


def add_options(parser: pytest.Parser) -> None:
    """The ini key."""
    parser.addini(
        "tasksim_scenarios", "folders (from the ini file's) whose YAML files are scenarios", type="linelist", default=[]
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
    folders = [(config.rootpath / folder).resolve() for folder in config.getini("tasksim_scenarios")]
    named = [(config.invocation_params.dir / str(word).split("::")[0]).resolve() for word in config.args]
    return path.resolve() in named or any(folder in path.resolve().parents for folder in folders)


def _begins_as_one(path: Path) -> bool:
    try:
        return re.match(_FIRST, path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


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
