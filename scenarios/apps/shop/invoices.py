"""A stand-in for the program that renders invoices: slow, and an order with too many lines takes all memory."""

import os
import signal
import time

#: Seconds to render one.
RENDERING = 1.0

#: The orders whose invoice was rendered.
rendered: list[int] = []

_too_big: set[int] = set()


def render(order: int) -> str:
    """Render the invoice of an order; of a too big one the kernel's memory killer ends the process."""
    time.sleep(RENDERING)
    if order in _too_big:
        os.kill(os.getpid(), signal.SIGKILL)
    rendered.append(order)
    return f"invoice-{order}.pdf"


def too_big(order: int) -> None:
    """Give an order too many lines."""
    _too_big.add(order)


def reset() -> None:
    """Forget everything."""
    rendered.clear()
    _too_big.clear()
