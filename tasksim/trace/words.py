"""How each kind of event reads: a word for what happened, and what else is worth a place on the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasksim import events as e

__all__ = ["MINOR", "WORDS", "one_line", "seconds", "words"]

#: Kinds that a short timeline leaves out.
MINOR: tuple[type[e.Event], ...] = (e.Connected, e.Disconnected, e.StateStored, e.HookCalled, e.Queued)

_SIGNALS = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV"}
_SIGNALS |= {12: "SIGUSR2", 14: "SIGALRM", 15: "SIGTERM"}


def words(event: e.Event) -> tuple[str, str]:
    """What happened, in a word or two, and the rest of the story; not yet fit for a terminal, see `one_line`."""
    return WORDS[type(event)](event)


def seconds(time: float) -> str:
    """A time in seconds without noise: "0", "1.5", "180"; at most six decimals."""
    text = f"{time:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def one_line(text: str) -> str:
    """The text on one line, without anything that a terminal would act upon."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _address(exchange: str, routing_key: str) -> str:
    return routing_key if exchange in ("", routing_key) else f"{exchange}/{routing_key}"


def _retries(retries: int | None) -> str:
    return f"retries {retries}" if retries else ""


def _handed(event: e.Delivered) -> str:
    return f"from {event.queue}, delivery {event.delivery}"


def _exit(exitcode: int | None, signal: int | None) -> str:
    if signal is not None:
        return f"killed by {_SIGNALS.get(signal, f'signal {signal}')}"
    return "no exit code" if exitcode is None else f"exit code {exitcode}"


def _published(event: e.Published) -> tuple[str, str]:
    to = f"to {_address(event.exchange, event.routing_key)}"
    return "published", _join(to, _retries(event.retries), event.eta and f"eta {event.eta}")


def _received(event: e.Received) -> tuple[str, str]:
    return "received", _join(
        _retries(event.retries),
        "redelivered" if event.redelivered else "",
        event.eta and f"eta {event.eta}",
        event.expires and f"expires {event.expires}",
    )


def _dead_lettered(event: e.DeadLettered) -> tuple[str, str]:
    return "dead-lettered", f"{event.queue} to {_address(event.exchange, event.routing_key)}: {event.reason}"


#: For each kind, a function of the event that gives both.
WORDS: dict[type[e.Event], Callable[[Any], tuple[str, str]]] = {
    e.Published: _published,
    e.Returned: lambda x: ("returned", f"to {_address(x.exchange, x.routing_key)}: {x.code} {x.reason}"),
    e.Queued: lambda x: ("queued", f"in {x.queue}"),
    e.Dropped: lambda x: ("dropped", f"from {x.queue}: {x.reason}" if x.queue else x.reason),
    e.Delivered: lambda x: ("delivered", _handed(x)),
    e.Redelivered: lambda x: ("redelivered", _handed(x)),
    e.Acked: lambda x: ("acked", f"delivery {x.delivery}"),
    e.Rejected: lambda x: ("rejected", f"delivery {x.delivery}, {'to requeue' if x.requeue else 'for good'}"),
    e.Requeued: lambda x: ("requeued", f"in {x.queue}: {x.reason}"),
    e.DeadLettered: _dead_lettered,
    e.MessageExpired: lambda x: ("ttl ran out", f"in {x.queue}"),
    e.Received: _received,
    e.Scheduled: lambda x: ("scheduled", f"until {seconds(x.due)}"),
    e.Accepted: lambda x: ("accepted", f"by {x.child}"),
    e.Started: lambda x: ("started", _join(f"retries {x.retries}", "redelivered" if x.redelivered else "")),
    e.Finished: lambda x: ("finished", x.state),
    e.StateStored: lambda x: ("stored", x.state),
    e.HookCalled: lambda x: ("hook", x.hook),
    e.Succeeded: lambda _: ("succeeded", ""),
    e.Failed: lambda x: ("failed", f"{x.exception}: {x.text}" if x.text else x.exception),
    e.RetryAsked: lambda x: ("asks to retry", f"in {seconds(x.delay)} s ({x.source})"),
    e.Retried: lambda x: ("retried", f"retries {x.retries}: {x.reason}"),
    e.Revoked: lambda x: ("revoked", "terminated" if x.terminated else ""),
    e.Expired: lambda _: ("expired", ""),
    e.TaskRejected: lambda x: ("not a task", x.reason),
    e.TaskUnknown: lambda _: ("unknown task", ""),
    e.WorkerBooting: lambda x: ("booting", f"pid {x.pid}"),
    e.WorkerUp: lambda _: ("ready", ""),
    e.WorkerStopping: lambda x: ("stopping", x.how),
    e.WorkerDown: lambda x: ("down", _exit(x.exitcode, x.signal)),
    e.ProcessStarted: lambda x: ("forked", f"pid {x.pid}"),
    e.ProcessEnded: lambda x: ("ended", _exit(x.exitcode, x.signal)),
    e.BeatSent: lambda x: ("due", f"entry {x.entry}"),
    e.Connected: lambda x: ("connected", f"to {x.server}, connection {x.connection}"),
    e.Disconnected: lambda x: ("disconnected", f"from {x.server}, connection {x.connection}: {x.reason}"),
    e.ServerStopped: lambda x: ("server down", x.server),
    e.ServerStarted: lambda x: ("server up", x.server),
    e.Fault: lambda x: ("FAULT", f"{x.kind} {x.target}".strip()),
}
