"""What producers that know nothing of Celery put into an app's queues."""

from __future__ import annotations

from typing import Any

import pytest

from tasksim import Simulation
from tasksim.events import Delivered, Published, WorkerDown
from tests.scene import BROKERS, make_app

#: Headers whose values are none that Celery would write.
ODD: dict[str, Any] = {"task": ["add"], "id": {"number": 1}, "retries": "many", "eta": [1]}


@pytest.mark.parametrize("broker", BROKERS)
def test_headers_that_are_no_text_are_told_as_python_writes_them(broker: str) -> None:
    app = make_app(broker)
    with Simulation(app) as sim:
        with app.connection() as connection:
            connection.Producer().publish("x", routing_key="celery", headers=ODD)
        sim.run()
        [published], [delivered] = sim.trace.where(Published), sim.trace.where(Delivered)
        assert published.task == delivered.task == "['add']"
        assert published.task_id == delivered.task_id == "{'number': 1}"
        assert (published.retries, published.eta) == (None, "[1]")
        assert "['add']" in sim.trace.text()
        assert [one.task for one in sim.publications] == ["['add']"]
        # The worker's consumer looks its strategies up by that list, which ends it, as in life.
        assert [down.exitcode for down in sim.trace.where(WorkerDown)] == [1]
