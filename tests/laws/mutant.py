"""Planting a mutant: a Python file whose `plant()` patches Celery and returns a function that takes it back."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path


def plant(file: str | Path) -> Callable[[], object] | None:
    """Plant it; None, with a word on stderr, if that cannot be done."""
    try:
        spec = importlib.util.spec_from_file_location("tests_laws_mutant", Path(file))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        take_back = module.plant()
    except Exception as exc:
        sys.stderr.write(f"{file}: no mutant can be planted: {type(exc).__name__}: {exc!s:.300}\n")
        return None
    return take_back if callable(take_back) else lambda: None
