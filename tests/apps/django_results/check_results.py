"""Run by tests/apps/test_django_results.py in an interpreter of its own, once for each database."""

import datetime

import pytest
from django_celery_results.models import ChordCounter, TaskResult

from tasksim import Simulation
from tests.backends.stories import STORIES, Store, a_chord_waits_for_its_header, add_of, at

STORE = Store("django-db", forgets="at cleanup", djangos=True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_on_djangos_store(story):
    story(STORE)
    assert not ChordCounter.objects.exists()


@pytest.mark.django_db
def test_in_the_transaction_of_a_test_case():
    a_chord_waits_for_its_header(STORE)


@pytest.mark.django_db(transaction=True)
def test_rows_bear_virtual_times():
    app = STORE.app(task_track_started=True, result_extended=True)
    add = add_of(app)
    with Simulation(app) as sim:
        sim.advance(100)
        add.delay(1, 2)
        sim.run()
        row = TaskResult.objects.get()
        moments = [row.date_created, row.date_started, row.date_done]
        assert [abs(moment - at(seconds)) < datetime.timedelta(seconds=0.01)
                for moment, seconds in zip(moments, (100, 100, 101), strict=True)] == [True] * 3  # fmt: skip
        assert (row.status, row.task_name, row.worker) == ("SUCCESS", "add", "w1@sim")


@pytest.mark.django_db(transaction=True)
def test_a_traceback_is_kept_with_the_extended_result():
    app = STORE.app(result_extended=True)

    @app.task(name="fails", shared=False)
    def fails():
        raise KeyError("order")

    with Simulation(app) as sim:
        fails.delay()
        sim.run()
    assert "KeyError: 'order'" in TaskResult.objects.get(status="FAILURE").traceback
