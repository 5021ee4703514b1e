"""A message that is to be rejected for good is put back into its queue, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Request.reject

    def reject(self: Any, requeue: bool = False) -> None:
        real(self, requeue=requeue or not self.delivery_info["redelivered"])

    Request.reject = reject

    def take_back() -> None:
        Request.reject = real

    return take_back
