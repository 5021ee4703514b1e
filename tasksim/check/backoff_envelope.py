"""Published delays inside the backoff envelope: a retry's message waits as long as the task's settings say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasksim import events as e
from tasksim.check.base import Finding, Invariant, seconds
from tasksim.check.retried import retries

__all__ = ["BACKOFF_ENVELOPE", "envelope"]

_NAME = "backoff_envelope"
#: A message's ETA has microseconds, its publishing takes none or a few.
_TOLERANCE = 0.001
#: Exchanges in which RabbitMQ itself delays a message (kombu's native delayed delivery); such a message has no ETA.
_DELAYED = "celery_delayed"


def envelope(request: e.RetryAsked) -> tuple[float, float] | None:
    """The least and the most seconds that a retry by backoff may wait; None for a retry by other means."""
    if request.source != "backoff" or request.backoff is None or request.backoff_max is None:
        return None
    most = float(min(request.backoff_max, request.backoff * 2**request.retries))
    return (0.0 if request.jitter else most), most


def _search(events: Sequence[e.Event]) -> Iterator[Finding]:
    for request, message in retries(events):
        if not message.exchange.startswith(_DELAYED):
            yield from _retry(request, message)


def _retry(request: e.RetryAsked, message: e.Published) -> Iterator[Finding]:
    """The message's delay against what was asked for, and that against the task's settings."""
    delay = 0.0 if message.due is None else message.due - request.time
    shown, name = (request, message), f"retry {request.retries + 1} of {request.task}[{request.task_id}]"
    if abs(delay - request.delay) > _TOLERANCE:
        sentence = f"{name} was asked for in {seconds(request.delay)} s and is due in {seconds(delay)} s"
        yield Finding(_NAME, sentence, shown, "S22" if request.source == "default" else "S29")
    bounds = envelope(request)
    if bounds is not None:
        yield from _backoff(request, bounds, name, shown)
    elif request.source == "default" and request.backoff is not None:
        sentence = f"{name} waits {seconds(request.delay)} s (default_retry_delay) in spite of its retry_backoff"
        yield Finding(_NAME, sentence, shown, "S26", "I35")


def _backoff(
    request: e.RetryAsked, bounds: tuple[float, float], name: str, shown: tuple[e.Event, ...]
) -> Iterator[Finding]:
    least, most = bounds
    whole = not request.jitter or request.delay == int(request.delay)
    if not least - _TOLERANCE <= request.delay <= most + _TOLERANCE or not whole:
        wanted = f"0 to {seconds(most)}" if request.jitter else seconds(most)
        sentence = f"{name} waits {seconds(request.delay)} s; its backoff is {wanted} s"
        yield Finding(_NAME, sentence, shown, "S28" if request.jitter else "S27")
    if (request.backoff or 0) > (request.backoff_max or 0):
        sentence = f"{name} waits {seconds(most)} s at most (retry_backoff_max); its retry_backoff is {request.backoff}"
        yield Finding(_NAME, sentence, shown, "S27", "I34")


BACKOFF_ENVELOPE = Invariant(
    _NAME,
    "a retry's message is due when the task asked, and by backoff not before or after min(maximum, factor x 2^retries)",
    ("S22", "S26", "S27", "S28", "S29"),
    (
        "with jitter anything from 0 to the backoff (S28)",
        "a countdown or an eta that the task gives itself wins (S22)",
        "a message that RabbitMQ delays by itself has no ETA to look at",
        "task_retry_on_worker_lost waits default_retry_delay (S8)",
    ),
    ("I34", "I35"),
    _search,
)
