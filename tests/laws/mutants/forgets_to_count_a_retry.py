"""A retry's message has the number of retries of the message before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.app.task import Task


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Task.signature_from_request

    def signature_from_request(self: Any, request: Any = None, *arguments: Any, **options: Any) -> Any:
        if "retries" in options:
            options["retries"] -= 1
        return real(self, request, *arguments, **options)

    Task.signature_from_request = signature_from_request

    def take_back() -> None:
        Task.signature_from_request = real

    return take_back
