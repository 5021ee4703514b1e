"""Which options a worker and a beat can have; Celery ignores what it does not know."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import celery.apps.beat
import celery.apps.worker

from tasksim.errors import UsageError
from tasksim.nearest import nearest
from tasksim.worker import settings

#: Arguments of `Hosts.start_worker` that are not the worker's.
_OF_THE_PROCESS = ("app", "hostname", "conf", "before")
#: Options that the worker's boot steps take.
_OF_STEPS = frozenset(
    (
        "autoscale", "beat", "heartbeat_interval", "no_color", "purge", "schedule", "without_gossip",
        "without_heartbeat", "without_mingle",
    )
)  # fmt: skip
#: Parameters of Celery's Beat that are no options: those that the simulation says itself.
_OF_BEATS_PROCESS = frozenset(("self", "kwargs", "quiet", "redirect_stdouts", "redirect_stdouts_level"))


def check_worker(name: str, app: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Can a worker have these options? The settings that it will have, by Celery's own names.

    Args:
        app: the simulation's, or None.
        given: what `Hosts.start_worker` is given.

    Raises:
        UsageError: an option that no worker has.
        UnsupportedError: a pool that is not simulated.
    """
    conf: Mapping[str, Any] = given.get("conf") or {}
    options = {key: value for key, value in given.items() if key not in _OF_THE_PROCESS}
    if app is None:
        return dict(conf)
    worker: Any = celery.apps.worker.Worker
    known = {
        name for step in (worker.setup_instance, worker.setup_defaults) for name in inspect.signature(step).parameters
    }
    known = (known | _OF_STEPS) - {"self", "kwargs", "_kw"}
    if not app.user_options.get("worker") and not any(app.steps.values()):
        _check_known("worker", options, known, "conf={...}")
    plain = settings.plain_names(app, conf)
    settings.check_pool(name, app, plain, options)
    return plain


def check_beat(app: Any, given: Mapping[str, Any]) -> None:
    """Can a beat have these options?

    Args:
        app: the simulation's, or None.
        given: what `Beats.start_beat` is given.

    Raises:
        UsageError: an option that no beat has.
    """
    known = set(inspect.signature(celery.apps.beat.Beat.__init__).parameters) - _OF_BEATS_PROCESS
    if app is not None and not app.user_options.get("beat"):
        _check_known("beat", {key: value for key, value in given.items() if key != "before"}, known,
                     "Simulation(settings={...})")  # fmt: skip


def _check_known(who: str, options: Mapping[str, Any], known: Collection[str], settings_go: str) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        close = nearest(unknown[0], known)
        meant = f"did you mean {close!r}? " if close else f"settings go into {settings_go}. "
        raise UsageError(f"no {who} has the option {unknown[0]!r}; {meant}Options: {', '.join(sorted(known))}")
