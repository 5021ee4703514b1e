"""A worker never finds a task expired."""

from __future__ import annotations

from collections.abc import Callable

from celery.worker.request import Request


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = Request.maybe_expire
    Request.maybe_expire = lambda self: None

    def take_back() -> None:
        Request.maybe_expire = real

    return take_back
