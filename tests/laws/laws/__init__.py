"""The laws by subject; importing this registers them all."""

from __future__ import annotations

import importlib

SUBJECTS = ("acks", "kills", "order", "retries", "messages", "eta", "delivery", "stop", "results", "beat")


def load() -> None:
    """Register them all."""
    for subject in SUBJECTS:
        importlib.import_module(f"{__name__}.{subject}")
