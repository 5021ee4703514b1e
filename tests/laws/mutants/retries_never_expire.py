"""A retry's message has no expiry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.app.task import Context


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Context.as_execution_options

    def as_execution_options(self: Any) -> dict[str, Any]:
        return {**real(self), "expires": None}

    Context.as_execution_options = as_execution_options

    def take_back() -> None:
        Context.as_execution_options = real

    return take_back
