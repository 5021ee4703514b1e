"""A driver that waits for real is named, with what to use instead."""

from __future__ import annotations

import socket
import sys
import types

import pytest
from celery import Celery

from tasksim import Limits, Simulation
from tasksim.errors import BlockedForReal
from tasksim.patching import drivers


@pytest.mark.parametrize(("name", "remedy"), [("pymysql", "NOWAIT"), ("pg8000", "psycopg 3")])
def test_a_step_that_blocks_in_such_a_driver_says_what_to_use_instead(name: str, remedy: str) -> None:
    ours, theirs = socket.socketpair()
    module = types.ModuleType(name)
    exec("def execute(connection):\n    return connection.recv(1)", vars(module))
    app = Celery("proj", broker="amqp://", backend="redis://")

    @app.task(shared=False)
    def query() -> None:
        vars(module)["execute"](ours)

    with (
        ours,
        theirs,
        Simulation(app, limits=Limits(block=0.3)),
        pytest.raises(BlockedForReal, match=f"{name} cannot wait in virtual time.*{remedy}"),
    ):
        query.delay().get()


def test_any_other_step_that_blocks_is_no_drivers_fault() -> None:
    assert drivers.remedy(sys._getframe()) == ""
