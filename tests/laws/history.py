"""A trace as words: what a pool process did in each run of a task, and what main processes did about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasksim import events
from tasksim.events import Event
from tests.laws.worlds import World

WORDS: dict[type[Event], Callable[[Any], str]] = {
    events.Published: lambda e: f"publish {e.task_id} {e.retries}",
    events.StateStored: lambda e: e.state,
    events.HookCalled: lambda e: e.hook,
    events.Succeeded: lambda _: "task_success",
    events.Failed: lambda e: f"task_failure {e.exception}",
    events.Retried: lambda _: "task_retry",
    events.Revoked: lambda e: "task_revoked terminated" if e.terminated else "task_revoked",
    events.Expired: lambda _: "task_revoked expired",
    events.Started: lambda e: f"task_prerun {e.retries}",
    events.Finished: lambda e: f"task_postrun {e.state}",
    events.Received: lambda e: f"task_received {e.retries}",
    events.Scheduled: lambda _: "scheduled",
    events.Accepted: lambda _: "accepted",
    events.Acked: lambda _: "ack",
    events.Rejected: lambda e: "requeue" if e.requeue else "reject",
}


def placed(world: World, task_id: str | None = None) -> list[tuple[float, Event]]:
    """Events, and what bodies noted, in their order, each with its place."""
    found: list[tuple[float, Event]] = list(enumerate(world.trace))
    found += [(position - 0.5, note) for position, note in world.bodies]
    found.sort(key=lambda one: one[0])
    return [one for one in found if task_id is None or getattr(one[1], "task_id", None) == task_id]


def word(event: Event) -> str | None:
    """An event as a word; None for what stays unsaid."""
    if hasattr(event, "what"):
        return str(event.what)
    say = WORDS.get(type(event))
    return None if say is None else say(event)


def runs(world: World, task_id: str) -> list[list[str]]:
    """What each run of a task did in its pool process, to its end."""
    found: list[list[str]] = []
    running: dict[str, list[str]] = {}
    for _, event in placed(world):
        if isinstance(event, events.Started) and event.task_id == task_id:
            running[event.process] = []
            found.append(running[event.process])
        said = word(event) if event.process in running else None
        if said is not None:
            running[event.process].append(said)
        if isinstance(event, (events.ProcessEnded, events.WorkerDown, events.Finished)):
            running.pop(event.process, None)
    return found


def mains(world: World, task_id: str) -> list[str]:
    """What main processes of workers did about a task, in order."""
    words = (word(event) for _, event in placed(world, task_id) if event.process in world.sim.workers)
    return [said for said in words if said is not None]


def states(world: World, task_id: str) -> list[str]:
    """The states that were stored."""
    return world.trace.of(world.result(task_id)).states


def place(world: World, kind: type[Event], task_id: str, nth: int = 1, **fields: Any) -> int:
    """Where in the trace the nth such event of a task stands."""
    fits = world.trace.pattern(kind, task_id=task_id, **fields).fits
    return [number for number, event in enumerate(world.trace) if fits(event)][nth - 1]


def same(found: object, expected: object, what: str = "") -> None:
    """Fail with both sides if they differ."""
    assert found == expected, f"{what or 'found'}: {found!r}\n  but by the law: {expected!r}"


def all_settled(world: World) -> None:
    """No message is left, ready or unacknowledged, and each delivery was settled at most once."""
    same(world.left(), (0, 0), "messages left (ready, unacked)")
    settled = [e.delivery for e in world.trace if isinstance(e, (events.Acked, events.Rejected))]
    same(len(settled), len(set(settled)), "deliveries settled")


def raised_by(function: Callable[[], object]) -> Exception | None:
    """What a call raises."""
    try:
        function()
    except Exception as exc:
        return exc
    return None
