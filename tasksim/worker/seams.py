"""All replaced places of a simulation, in the order in which they are replaced."""

from __future__ import annotations

from tasksim.network import amqp_seam
from tasksim.patching import entropy, guard, standard, threads
from tasksim.patching.table import Row
from tasksim.worker import app as worker_app
from tasksim.worker import (
    backend,
    beat,
    command,
    debugger,
    host,
    hub,
    joins,
    logs,
    looks,
    memory,
    order,
    pool,
    semaphores,
    settings,
    shelf,
    state,
    tracer,
    watch,
)  # fmt: skip

#: Every place that is replaced in every simulation.
ROWS: tuple[Row, ...] = (
    *amqp_seam.ROWS, *entropy.ROWS, *guard.ROWS, *threads.ROWS, *standard.ROWS, *pool.ROWS,
    *pool.PROCESS_ROWS, *semaphores.ROWS, *hub.ROWS, *order.ROWS, *state.ROWS, *worker_app.ROWS, *tracer.ROWS,
    *watch.ROWS, *host.ROWS, *beat.ROWS, *logs.ROWS, *command.ROWS, *debugger.ROWS, *looks.ROWS, *backend.ROWS,
    *joins.ROWS, *settings.ROWS, *memory.ROWS, *shelf.ROWS,
)  # fmt: skip


def redis_rows() -> tuple[Row, ...]:
    """Places that are replaced where an app uses Redis, or has loaded its client."""
    from tasksim.network import _fakeredis, redis_seam

    return (*redis_seam.ROWS, *_fakeredis.ROWS)


def kombu_redis_rows() -> tuple[Row, ...]:
    """Places in kombu's Redis transport, which is slow to import."""
    from tasksim.broker import redis_rows

    return (*redis_rows.ROWS, *state.REDIS_ROWS)
