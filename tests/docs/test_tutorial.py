"""The tutorial, typed line by line: files come to be as it says, and its commands print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
#: A step, and the code block under it if it has one.
STEP = re.compile(
    r"<!-- (file|append|replace|first line|run|by hand)(?:: ([^:\n]+?))?(?:: (.+?))? -->\n(?:```\w+\n(.*?)```\n)?", re.S
)


def shell(command: str, folder: Path) -> str:
    """What a command prints, in an environment that has tasksim and nothing else of note."""
    words = shlex.split(command)
    program = {"pytest": ["-m", "pytest"], "tasksim": ["-m", "tasksim"]}[words[0]]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", COLUMNS="80")
    environment.pop("TASKSIM_SEED", None)
    plugin = ["-p", "tasksim.pytest_plugin", "-W", "error"] if words[0] == "pytest" else []
    done = subprocess.run(
        [sys.executable, *program, *plugin, *words[1:]],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.stdout + done.stderr


def plain(line: str) -> str:
    """A line without what differs from run to run: real times, paths, how far columns are apart."""
    line = re.sub(r"\bin [0-9.]+s\b", "in a moment", line)
    line = re.sub(r"all \d+ events: \S+", "all events", line)
    return " ".join(line.split())


def missing(shown: str, printed: str) -> str | None:
    """The first line shown that was not printed, in order; `...` stands for any lines, otherwise line follows line."""
    lines, place, anywhere = [plain(line) for line in printed.splitlines() if line.strip()], 0, False
    for line in shown.splitlines():
        if line == "...":
            anywhere = True
            continue
        here = lines[place:] if anywhere else lines[place : place + 1]
        if plain(line) not in here:
            return line
        place, anywhere = place + here.index(plain(line)) + 1, False
    return None if anywhere or place == len(lines) else lines[place]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_page_says_comes_true(page: Path, tmp_path: Path) -> None:
    commands = 0
    for verb, name, text, block in STEP.findall(page.read_text(encoding="utf-8")):
        path = tmp_path / (name or "nothing")
        if verb == "file":
            path.parent.mkdir(exist_ok=True)
            path.write_text(block)
        elif verb == "append":
            path.write_text(path.read_text() + block)
        elif verb == "first line":
            path.write_text(f"{text}\n{path.read_text()}")
        elif verb == "replace":
            before = path.read_text()
            assert before.count(f"{text}\n") == 1
            path.write_text(before.replace(f"{text}\n", block))
        elif verb == "run":
            prompt, _, shown = block.partition("\n")
            printed = shell(prompt.removeprefix("$ "), tmp_path)
            wrong = missing(shown, printed)
            assert wrong is None, f"{prompt}: not as shown: {wrong}\n\n{printed}"
            commands += 1
    assert commands >= 5


def test_every_block_of_code_is_a_step() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len([block for *_, block in STEP.findall(text) if block]) == text.count("\n```") / 2
