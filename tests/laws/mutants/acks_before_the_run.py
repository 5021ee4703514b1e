"""A late-acked task is acknowledged when a pool process has accepted it, before its body runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Request.on_accepted

    def on_accepted(self: Any, pid: int, time_accepted: float) -> None:
        real(self, pid, time_accepted)
        self.acknowledge()

    Request.on_accepted = on_accepted

    def take_back() -> None:
        Request.on_accepted = real

    return take_back
