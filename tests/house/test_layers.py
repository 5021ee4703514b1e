"""Imports point one way, third-party packages enter by their doors, files and functions stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "tasksim"

#: Each layer and the layers it may import, lowest first. A name is a module or a folder below tasksim/.
LAYERS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "events": (),
    "message": (),
    "limits": (),
    "nearest": (),
    "rules": ("errors",),
    "opened": (),
    "trace": ("nearest", "errors", "events"),
    "check": ("trace", "errors", "events"),
    "report": ("nearest", "check", "trace", "errors", "events"),
    "kernel": ("errors",),
    "unix": ("kernel", "errors"),
    "patching": ("unix", "kernel", "errors"),
    "network": ("patching", "unix", "kernel", "errors", "events", "message"),
    "broker": ("network", "patching", "unix", "kernel", "errors", "events", "message"),
    "worker": ("nearest", "broker", "network", "patching", "unix", "kernel", "trace", "errors", "events", "message"),
    "deadlock": ("worker", "events"),
    "renewal": ("trace", "events"),
    "idle": ("renewal", "deadlock", "worker", "broker", "kernel", "errors", "events", "limits"),
    "world": (
        "worker", "broker", "network", "patching", "unix", "kernel", "trace", "errors", "events", "message", "limits",
    ),
    "driving": (
        "nearest", "world", "idle", "worker", "broker", "network", "unix", "kernel", "trace",
        "errors", "events", "message", "limits",
    ),
    "simulation": (
        "driving", "world", "idle", "worker", "unix", "kernel",
        "report", "check", "trace", "rules", "errors", "events", "limits", "opened",
    ),
    "comparison": ("simulation", "patching", "trace", "errors", "events"),
    "dropin": ("simulation", "world", "limits", "errors"),
    "strategies": ("simulation", "driving", "trace", "limits", "errors", "events"),
    "scenario": ("nearest", "simulation", "worker", "driving", "network", "check", "trace", "errors", "events"),
    "cli": ("scenario", "comparison", "simulation", "check", "report", "trace", "errors", "events"),
    "__main__": ("cli",),
    "pytest_scenarios": ("scenario", "report", "errors"),
    "pytest_failure": ("simulation", "opened", "report", "trace", "errors"),
    "pytest_dropin": ("dropin", "errors"),
    "pytest_brokers": ("simulation",),
    "pytest_plugin": (
        "pytest_brokers", "pytest_scenarios", "pytest_failure", "pytest_dropin", "dropin", "simulation", "errors",
    ),
    "pytest_entry": (),
}  # fmt: skip

#: Third-party packages (and where a whole folder is a door, the folder).
DOORS: dict[str, tuple[str, ...]] = {
    "greenlet": ("kernel/process.py",),
    "celery": ("worker/", "scenario/", "comparison/", "pytest_plugin.py"),
    "kombu": ("worker/", "broker/redis_rows.py", "comparison/half.py"),
    "billiard": ("worker/",),
    "amqp": ("network/amqp_seam.py",),
    "redis": ("network/redis_seam.py", "network/_fakeredis.py", "network/_fakeredis_peer.py"),
    "fakeredis": (
        "network/_fakeredis.py",
        "network/_fakeredis_peer.py",
        "network/_fakeredis_mended.py",
        "network/_fakeredis_admin.py",
        "network/_fakeredis_disk.py",
        "network/_fakeredis_image.py",
        "network/_fakeredis_memory.py",
        "network/_resp.py",
        "network/_parts.py",
    ),
    "freezegun": (),
    "time_machine": (),
    "yaml": ("scenario/load.py",),
    "click": ("cli.py",),
    "hypothesis": ("strategies/",),
    "pytest": (
        "pytest_plugin.py",
        "pytest_scenarios.py",
        "pytest_failure.py",
        "pytest_dropin.py",
        "pytest_brokers.py",
        "pytest_entry.py",  # for types only
    ),
    "packaging": ("patching/table.py",),
    "pandas": ("trace/frames.py", "trace/log.py"),  # the second for types only
}

FILES = sorted(ROOT.rglob("*.py"))
#: Lines of a file, of a function; nobody may have more.
MOST_LINES, MOST_FUNCTION_LINES = 400, 70


def imports(path: Path, *, typing_too: bool = False) -> list[str]:
    """Modules that a file imports, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not typing_too:
            skipped.update(ast.walk(node))
    found = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    layer = layer_of(path)
    if layer == "__init__":
        return
    allowed = {layer, *LAYERS[layer]}
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "tasksim" and len(parts) > 1:
            assert parts[1] in allowed or parts[1] == "__version__", f"{layer} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_third_party_package_enters_by_its_door(path: Path) -> None:
    name = name_of(path)
    for module in imports(path, typing_too=True):
        doors = DOORS.get(module.split(".")[0])
        if doors is not None:
            assert name.startswith(doors), f"{module} is imported in {name}; its doors are {doors}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_FUNCTION_LINES, node.name


def test_the_layers_have_no_cycle() -> None:
    seen: list[str] = []
    for layer, below in LAYERS.items():
        assert all(one in seen for one in below), layer
        seen.append(layer)


def test_every_folder_stands_in_the_map() -> None:
    import tasksim

    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(LAYERS)
    assert tasksim.__doc__ is not None
    assert all(f"{folder}/" in tasksim.__doc__ for folder in folders)
