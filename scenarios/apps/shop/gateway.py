"""A stand-in for the payment gateway: slow, at times unreachable or busy, and it remembers what it has charged.

A charge with a `key` is idempotent, as with most real gateways: the second charge with the same key is answered with
the first one's receipt. Without a key each call charges.
"""

import time

#: Seconds that the gateway takes to answer.
LATENCY = 0.5

#: The orders charged, in order; one that was charged twice stands here twice.
charges: list[int] = []

#: How many calls were turned away because the gateway was busy.
turned_away = 0

latency = LATENCY
_capacity: int | None = None
_busy_until: list[float] = []
_timeouts_left = 0
_declined: set[int] = set()
_receipts: dict[str, str] = {}


class GatewayTimeout(Exception):
    """The gateway did not answer; trying again may help."""


class CardDeclined(Exception):
    """The gateway said no; trying again does not help."""


def charge(order: int, key: str | None = None) -> str:
    """Charge an order and return the receipt."""
    global _timeouts_left, turned_away
    busy = not _has_room()
    time.sleep(latency)
    if busy:
        turned_away += 1
        raise GatewayTimeout(f"too busy for order {order}")
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


def _has_room() -> bool:
    """Take a place for this call, if there is one."""
    if _capacity is None:
        return True
    _busy_until[:] = [until for until in _busy_until if until > time.monotonic()]
    if len(_busy_until) >= _capacity:
        return False
    _busy_until.append(time.monotonic() + latency)
    return True


def serve_at_once(calls: int) -> None:
    """Serve so many calls at a time from now on, and turn the others away."""
    global _capacity
    _capacity = calls


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
    global latency, turned_away, _capacity, _timeouts_left
    latency, turned_away, _capacity, _timeouts_left = LATENCY, 0, None, 0
    charges.clear()
    _busy_until.clear()
    _declined.clear()
    _receipts.clear()
