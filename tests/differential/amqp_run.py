"""The AMQP comparison: a case on the model and on a real server, and wrong rules that it must find."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tasksim.broker.amqp import dead_letters, exchange
from tasksim.broker.amqp.consumer import Subscribers
from tasksim.broker.amqp.queue import Queue
from tasksim.broker.amqp.ready import Ready
from tests.differential.amqp_arms import Connections, Model, run_real
from tests.differential.cases import Case, Run
from tests.differential.coverage import amqp_marks

__all__ = ["PLANTS", "planted", "runner"]

_numbers = itertools.count()


@contextmanager
def runner(address: str) -> Iterator[Run]:
    """Runs a case on a model of its own and on the server at this address."""
    connections = Connections(address)

    def run(case: Case) -> tuple[set[str], str | None]:
        model = Model()
        expected = model.run(case)
        # As long as the model's own, because long errors are cut off; another one for each case and process.
        prefix = f"c{os.getpid() % 1000:03}{next(_numbers):04}."
        return amqp_marks(case, expected, model.events), run_real(connections, prefix, case, expected)

    try:
        yield run
    finally:
        for number in (0, 1, 3):
            connections.close(number)


# --- wrong rules


def _to_the_end(ready: Ready, messages: list[Any]) -> None:
    for message in messages:
        ready.put(message)


def _first_again(subscribers: Subscribers, consumer: Any) -> None:
    subscribers.ring.appendleft(consumer)


def _all_or_none(arguments: dict[str, Any], headers: dict[str, Any]) -> bool:
    return all(headers.get(name) == value for name, value in arguments.items() if name != "x-match")


def _redelivered_is_forgotten(queue: Queue, messages: list[Any], reason: str) -> None:
    _requeue(queue, messages, reason)
    for message in messages:
        message.redelivered = False


_requeue = Queue.requeue

#: What is replaced, and by what: a rule that is not RabbitMQ's.
PLANTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "what comes back goes to the end": (Ready, "put_back", _to_the_end),
    "the same consumer again and again": (Subscribers, "enter", _first_again),
    "headers must all match": (exchange, "matches_headers", _all_or_none),
    "every dead letter is taken for a circle": (dead_letters, "_goes_in_circles", lambda deaths, queue: True),
    "redelivered is forgotten": (Queue, "requeue", _redelivered_is_forgotten),
    "nothing expires": (Queue, "_stamp", lambda queue, message: None),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The model with this wrong rule."""
    owner, attribute, wrong = PLANTS[name]
    right = getattr(owner, attribute)
    setattr(owner, attribute, wrong)
    try:
        yield
    finally:
        setattr(owner, attribute, right)
