"""A request says that its message was never delivered before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Request.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        self._delivery_info["redelivered"] = False

    Request.__init__ = __init__

    def take_back() -> None:
        Request.__init__ = real

    return take_back
