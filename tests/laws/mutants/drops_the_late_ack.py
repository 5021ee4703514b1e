"""A late-acked task that has ended is not acknowledged if it succeeded or is retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Request.acknowledge

    def acknowledge(self: Any) -> None:
        if not self.task.acks_late:
            real(self)

    Request.acknowledge = acknowledge

    def take_back() -> None:
        Request.acknowledge = real

    return take_back
