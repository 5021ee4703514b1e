"""Where kombu's Redis transport is watched, and the two places where it is made deterministic.

Each observation calls the original, always; see `redis_watch.py` for what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tasksim.broker.redis_watch import RedisWatch
from tasksim.patching.table import Row, find

__all__ = ["ROWS", "WatchedWorld"]


class WatchedWorld(Protocol):
    """What the rows ask of the simulation."""

    redis_watch: RedisWatch


_CHANNEL = "kombu.transport.redis:Channel"
_QOS = "kombu.transport.redis:QoS"
_SEEN = "seen for the trace; the original is always called"


def _original(place: str) -> Callable[..., Any]:
    owner, name = find(place)
    method: Callable[..., Any] = getattr(owner, name)
    return method


def _augment(world: WatchedWorld) -> object:
    watch, original = world.redis_watch, _original(f"{_CHANNEL}._inplace_augment_message")

    def _inplace_augment_message(channel: Any, message: Any, exchange: Any, routing_key: Any) -> None:
        original(channel, message, exchange, routing_key)
        # A task of Celery's first message protocol has its name in the body, and is known by the address for answers.
        if "task" in message["headers"] or "reply_to" in message["properties"]:
            watch.published(channel, message, exchange, routing_key)

    return _inplace_augment_message


def _deliver(world: WatchedWorld) -> object:
    watch, original = world.redis_watch, _original("kombu.transport.redis:Transport._deliver")

    def _deliver(transport: Any, message: Any, queue: str) -> Any:
        if "task" in message["headers"]:
            channel = next((one for one in transport.channels if queue in one.active_queues), None)
            watch.delivered(channel or transport.Channel, message, queue, channel is not None)
            return watch.in_hand(original, transport, message, queue)
        return original(transport, message, queue)

    return _deliver


def _get(world: WatchedWorld) -> object:
    watch, original = world.redis_watch, _original(f"{_CHANNEL}._get")

    def _get(channel: Any, queue: str) -> Any:
        message = original(channel, queue)
        if "task" in message["headers"]:
            watch.delivered(channel, message, queue, consuming=False)
        return message

    return _get


def _append(world: WatchedWorld) -> object:
    watch, original = world.redis_watch, _original(f"{_QOS}.append")

    def append(qos: Any, message: Any, delivery_tag: str) -> None:
        original(qos, message, delivery_tag)
        watch.noted(delivery_tag)

    return append


def _ack(world: WatchedWorld) -> object:
    watch, original = world.redis_watch, _original(f"{_QOS}.ack")

    def ack(qos: Any, delivery_tag: str) -> None:
        original(qos, delivery_tag)
        watch.settled(delivery_tag, None)

    return ack


def _reject(world: WatchedWorld) -> object:
    watch, original = world.redis_watch, _original(f"{_QOS}.reject")

    def reject(qos: Any, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            watch.settled(delivery_tag, True)
            watch.putting_back("rejected", original, qos, delivery_tag, requeue=True)
        else:
            original(qos, delivery_tag, requeue=False)
            watch.settled(delivery_tag, False)

    return reject


def _putting_back(place: str, reason: str) -> Callable[[WatchedWorld], object]:
    def make(world: WatchedWorld) -> object:
        watch, original = world.redis_watch, _original(place)

        def method(*arguments: Any, **options: Any) -> Any:
            return watch.putting_back(reason, original, *arguments, **options)

        return method

    return make


def _consuming(place: str) -> Callable[[WatchedWorld], object]:
    def make(world: WatchedWorld) -> object:
        watch, original = world.redis_watch, _original(place)

        def method(channel: Any, *arguments: Any, **options: Any) -> Any:
            result = original(channel, *arguments, **options)
            watch.consumes(channel)
            return result

        return method

    return make


def _lookup(_: object) -> object:
    original = _original(f"{_CHANNEL}._lookup")

    def _lookup(channel: Any, *arguments: Any, **options: Any) -> Any:
        found = original(channel, *arguments, **options)
        return sorted(found) if len(found) > 1 else found

    return _lookup


def _rising_time(_: object) -> object:
    clock: Callable[[], float] = _original("time:time")
    last = 0.0

    def time() -> float:
        nonlocal last
        last = max(clock(), last + 1e-6)
        return last

    return time


def _row(place: str, make: Callable[[Any], object], why: str = _SEEN) -> Row:
    return Row(place, why, make)


ROWS = (
    _row(f"{_CHANNEL}._inplace_augment_message", _augment),
    _row("kombu.transport.redis:Transport._deliver", _deliver),
    _row(f"{_CHANNEL}._get", _get),
    _row(f"{_QOS}.append", _append),
    _row(f"{_QOS}.ack", _ack),
    _row(f"{_QOS}.reject", _reject),
    _row(f"{_QOS}.restore_visible", _putting_back(f"{_QOS}.restore_visible", "visibility timeout")),
    _row(f"{_QOS}.restore_unacked", _putting_back(f"{_QOS}.restore_unacked", "channel closed")),
    _row(f"{_CHANNEL}.basic_recover", _putting_back(f"{_CHANNEL}.basic_recover", "recovered")),
    _row(f"{_CHANNEL}.basic_consume", _consuming(f"{_CHANNEL}.basic_consume")),
    _row(f"{_CHANNEL}._basic_cancel", _consuming(f"{_CHANNEL}._basic_cancel")),
    _row(
        f"{_CHANNEL}._lookup",
        _lookup,
        "a message goes to several queues in the order of a set of names, which differs from run to run",
    ),
    _row(
        "kombu.transport.redis:time",
        _rising_time,
        "messages taken at one instant would have one score in unacked_index and be restored in the order of their "
        "random tags; a real clock never stands still between two of them",
    ),
)
