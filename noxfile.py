"""The version matrix: `nox -l` lists it; docs/reference/versions.md says what it is for.

Each session has an environment of its own, with tasksim as it stands here. An interpreter that is not there is an
error, never a session less.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHONS = ("3.11", "3.12", "3.13")
#: Each minor release of Celery with the kombu, billiard and redis-py that were current in its time.
RELEASES = {
    "5.5": ("celery==5.5.3", "kombu==5.5.4", "billiard==4.2.1", "redis==5.2.1"),
    "5.6": ("celery==5.6.3", "kombu==5.6.2", "billiard==4.2.4", "redis==6.4.0"),
    "newest": ("celery", "kombu", "billiard", "redis"),
}
#: What no release of Python, Celery, kombu, billiard or redis-py can change: left out beside the main job.
THE_SAME = ("tests/trace", "tests/benchmarks", "tests/docs", "tests/notebooks", "tests/report")

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True
nox.options.stop_on_first_error = True


def let_pyenv_find_every_python() -> None:
    """pyenv's shims (python3.13) only run what is selected: select all that are installed, those of now first."""
    if shutil.which("pyenv") is None or "PYENV_VERSION" in os.environ:
        return
    now = subprocess.run(["pyenv", "version-name"], capture_output=True, text=True).stdout.strip()
    found = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True).stdout.split()
    os.environ["PYENV_VERSION"] = ":".join(dict.fromkeys([*filter(None, now.split(":")), *reversed(found)]))


let_pyenv_find_every_python()


def minimums() -> list[str]:
    """The oldest release of each dependency that pyproject.toml allows: "celery==5.5" for "celery>=5.5"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.sub(r"\[.*\]", "", one).replace(">=", "==") for one in project["dependencies"] if ">=" in one]


def run(session: nox.Session, *requirements: str) -> None:
    """Install, say what there is, and run the suite; arguments after `--` go to pytest."""
    session.install("--quiet", "-e", ".[dev]", *requirements)
    session.run("python", "-c", SHOW)
    arguments = session.posargs or ["-n", "2", *(f"--ignore={folder}" for folder in THE_SAME)]
    session.run("python", "-m", "pytest", "-q", *arguments)


SHOW = (
    "import platform, importlib.metadata as m; print('Python', platform.python_version(), "
    "*(f'{n} {m.version(n)}' for n in ('celery', 'kombu', 'billiard', 'redis', 'fakeredis', 'greenlet', 'pytest')))"
)


@nox.session(python=PYTHONS)
@nox.parametrize("celery", list(RELEASES), ids=list(RELEASES))
def tests(session: nox.Session, celery: str) -> None:
    """The suite with one Python and one release of Celery."""
    run(session, *RELEASES[celery])


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The suite with the oldest Python, and the oldest release of each dependency that pyproject.toml allows."""
    run(session, *minimums(), "kombu==5.5.2", "billiard==4.2.1", "redis==5.2.1")
