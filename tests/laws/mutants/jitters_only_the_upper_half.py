"""Jitter draws from the upper half of the backoff."""

from __future__ import annotations

import random
from collections.abc import Callable

from celery.app import autoretry


def plant() -> Callable[[], None]:
    """Patch Celery; the function that is returned takes it back."""
    real = autoretry.get_exponential_backoff_interval

    def interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
        countdown = real(factor, retries, maximum, False)
        return random.randint((countdown + 1) // 2, countdown) if full_jitter else countdown

    autoretry.get_exponential_backoff_interval = interval

    def take_back() -> None:
        autoretry.get_exponential_backoff_interval = real

    return take_back
