"""What the scripts that run other projects' suites share: an environment, a source, a run of pytest, a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import suite_plugin

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
COLUMNS = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
Row = dict[str, Any]


class SuiteError(Exception):
    """A suite cannot be had or installed; says what to do."""


def make_environment(folder: Path, requirements: Sequence[str]) -> Path:
    """A virtual environment with these requirements and tasksim's; gives its interpreter. Made once.

    tasksim itself is not installed, but on the path (see `run_pytest`): an editable one would bring its `tests` along.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (BUILD / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # pytest looks no further: not for our own
    venv = folder / "venv"
    python, note = venv / "bin" / "python", venv / "requirements.txt"
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted = "\n".join((*requirements, *own))
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        print(f"making {venv} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
        if subprocess.run([*pip, *requirements, *own], check=False).returncode:
            raise SuiteError(f"pip could not install {' '.join(requirements)}: see above")
        note.write_text(wanted, encoding="utf-8")
    return python


def fetch_release(folder: Path, project: str, release: str) -> Path:
    """The unpacked source distribution of a release; downloaded once."""
    ready = folder / f"{project}-{release}"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        with tempfile.TemporaryDirectory(dir=folder) as downloads:
            if subprocess.run([*command, "--dest", downloads, f"{project}=={release}"], check=False).returncode:
                raise SuiteError(f"no source distribution of {project} {release} could be had; give a checkout: --path")
            unpack(next(Path(downloads).iterdir())).rename(ready)
    return ready


def unpack(archive: Path) -> Path:
    """Unpack a source distribution beside itself; gives its folder."""
    folder = Path(tempfile.mkdtemp(dir=archive.parent))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def fetch_tag(folder: Path, repository: str, tag: str) -> Path:
    """A shallow clone of a tag; made once."""
    ready = folder / f"checkout-{tag}"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["git", "clone", "--quiet", "--depth", "1", "--branch", tag, repository, str(ready)]
        if subprocess.run(command, check=False).returncode:
            raise SuiteError(f"{repository} could not be cloned at {tag}; give a checkout of it: --path")
    return ready


def run_pytest(
    python: Path, source: Path, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None,
    prefix: str = "", not_served: Mapping[str, str] | None = None, seed: int = 0, path: Sequence[Path] = (),
    patience: float = 1200,
) -> list[Row]:  # fmt: skip
    """Run a suite with the drop-in switched on, in a process of its own; what became of its tests.

    Args:
        python: an interpreter whose environment has what the suite and tasksim need.
        source: the folder to run in.
        arguments: for pytest: files, options.
        environment: variables to set.
        prefix: taken off the names of tests.
        not_served: tests, or files (`test_it.py::`), that cannot run, and why.
        path: folders for Python's path.
        patience: real seconds that it may take.
    """
    with tempfile.TemporaryDirectory(prefix="tasksim-suite-") as folder:
        outcomes, ours = Path(folder) / "outcomes.json", Path(folder) / "path"
        ours.mkdir()
        (ours / "tasksim").symlink_to(ROOT / "tasksim")
        (ours / "suite_plugin.py").symlink_to(Path(suite_plugin.__file__))
        told = {"outcomes": str(outcomes), "prefix": prefix, "not_served": dict(not_served or {})}
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "PYTEST_"))}
        variables |= {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(map(str, (ours, *path))),
            suite_plugin.VARIABLE: json.dumps(told), **(environment or {}),
        }  # fmt: skip
        plugins = ["tasksim.pytest_plugin", "suite_plugin", "no:cacheprovider", "no:hypothesispytest"]
        command = [str(python), "-m", "pytest", *(word for name in plugins for word in ("-p", name))]
        command += ["-o", "tasksim_dropin=true", f"--tasksim-seed={seed}", f"--basetemp={folder}/pytest"]
        command += [f"--rootdir={source}"]
        command += ["-q", "-W", "ignore", *arguments]
        try:
            done = subprocess.run(
                command, cwd=source, env=variables, timeout=patience, capture_output=True, text=True, check=False
            )
            last = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
            complaints = [line for line in done.stderr.splitlines() if "error:" in line]
            last = (complaints[0] if done.returncode > 1 and complaints else last)[:300]
        except subprocess.TimeoutExpired:
            last = f"took longer than {patience:g} s"
        found: list[Row] = json.loads(outcomes.read_text(encoding="utf-8")) if outcomes.exists() else []
        name = next((one for one in arguments if not one.startswith("-")), source.name).removeprefix(prefix)
        return found or [{"test": name, "outcome": "error", "reruns": 0, "seconds": 0.0, "reason": last}]


def table(rows: Iterable[Row]) -> str:
    """A line for each file, and one for all."""
    by_file: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_file[row["test"].partition("::")[0]].append(row)
    by_file["all"] = [row for found in list(by_file.values()) for row in found]
    width = max(map(len, by_file))
    lines = [f"{'file':{width}} {'tests':>6}" + "".join(f" {name:>8}" for name in (*COLUMNS, "reruns", "seconds"))]
    for name, found in by_file.items():
        counts = Counter(row["outcome"] for row in found)
        numbers = [counts[one] for one in COLUMNS] + [sum(row["reruns"] for row in found)]
        seconds = sum(row["seconds"] for row in found)
        lines.append(f"{name:{width}} {len(found):6}" + "".join(f" {one:8}" for one in numbers) + f" {seconds:8.1f}")
    return "\n".join(lines)


def others(rows: Iterable[Row]) -> str:
    """The tests that did not pass, by outcome and reason."""
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row["outcome"] != "passed":
            by_reason[row["outcome"], row["reason"]].append(row["test"])
    lines = []
    for (outcome, reason), names in sorted(by_reason.items()):
        lines.append(f"{outcome}, {len(names)} times: {reason or 'no reason given'}")
        lines += [f"    {name}" for name in names[:10]] + ([f"    and {len(names) - 10} more"] if names[10:] else [])
    return "\n".join(lines)


def report(rows: Sequence[Row], title: str, json_file: Path | None) -> int:
    """Print and write; the exit code: 1 if a test failed."""
    print(table(rows))
    print(others(rows))
    print(title)
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any(row["outcome"] in ("failed", "error") for row in rows))
