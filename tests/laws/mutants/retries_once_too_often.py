"""A task is retried max_retries + 1 times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.app.task import Task


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Task.retry

    def retry(self: Any, *arguments: Any, max_retries: int | None = None, **options: Any) -> Any:
        limit = self.max_retries if max_retries is None else max_retries
        return real(self, *arguments, max_retries=None if limit is None else limit + 1, **options)

    Task.retry = retry

    def take_back() -> None:
        Task.retry = real

    return take_back
