"""Exponential backoff starts with half the factor's delay."""

from __future__ import annotations

from collections.abc import Callable

from celery.app import autoretry
from celery.utils.time import get_exponential_backoff_interval


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = autoretry.get_exponential_backoff_interval

    def interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
        return get_exponential_backoff_interval(factor, max(0, retries - 1), maximum, full_jitter)

    autoretry.get_exponential_backoff_interval = interval

    def take_back() -> None:
        autoretry.get_exponential_backoff_interval = real

    return take_back
