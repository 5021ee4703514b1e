"""Celery's set-up of logging in the test's own process (drop-in, real workers) lasts: here it ends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Celery's loggers are at the end what they were; handlers that tests' own tools come and go with are let be."""
    names = [name for name in logging.Logger.manager.loggerDict if name == "celery" or name.startswith("celery.")]
    before = [
        (one, one.level, one.propagate, one.disabled, list(one.handlers)) for one in map(logging.getLogger, names)
    ]
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    for one, own_level, propagate, disabled, handlers in before:
        one.setLevel(own_level)
        one.propagate, one.disabled = propagate, disabled
        one.handlers[:] = [each for each in one.handlers if each in handlers or type(each) is not logging.StreamHandler]
