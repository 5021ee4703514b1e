"""A stand-in for the payment gateway: slow, at times unreachable, and it remembers what it has charged.

A charge with a `key` is idempotent, as with most real gateways: the second charge with the same key is answered with
the first one's receipt. Without a key each call charges.
"""

import time

#: Seconds that the gateway takes to answer.
LATENCY = 0.5

#: The orders charged, in order; one that was charged twice stands here twice.
charges: list[int] = []

latency = LATENCY
_timeouts_left = 0
_declined: set[int] = set()
_receipts: dict[str, str] = {}


class GatewayTimeout(Exception):
    """The gateway did not answer; trying again may help."""


class CardDeclined(Exception):
    """The gateway said no; trying again does not help."""


def charge(order: int, key: str | None = None) -> str:
    """Charge an order and return the receipt."""
    global _timeouts_left
    time.sleep(latency)
    if _timeouts_left > 0:
        _timeouts_left -= 1
        raise GatewayTimeout(f"no answer for order {order}")
    if order in _declined:
        raise CardDeclined(f"order {order}")
    if key is not None and key in _receipts:
        return _receipts[key]
    charges.append(order)
    receipt = f"receipt-{len(charges)}"
    if key is not None:
        _receipts[key] = receipt
    return receipt


def time_out(calls: int) -> None:
    """Let the next `calls` calls end in `GatewayTimeout`."""
    global _timeouts_left
    _timeouts_left = calls


def decline(order: int) -> None:
    """Refuse this order's card from now on."""
    _declined.add(order)


def answer_in(seconds: float) -> None:
    """Take this long for each answer from now on."""
    global latency
    latency = seconds


def reset() -> None:
    """Forget everything."""
    global latency, _timeouts_left
    latency, _timeouts_left = LATENCY, 0
    charges.clear()
    _declined.clear()
    _receipts.clear()
