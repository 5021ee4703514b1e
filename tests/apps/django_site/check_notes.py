"""Run by tests/apps/test_django.py in an interpreter of its own, once for each database and broker."""

import os

import pytest
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from notes import tasks
from notes.models import Note
from site1.celery import app

from tasksim import Simulation, compare_eager

in_file = pytest.mark.skipif(os.environ["DATABASE"] == "memory", reason="in memory SQLite locks whole tables")


@pytest.fixture
def tasksim_options():
    return {"workers": 2}


def states(sim, result):
    return [one.state for one in sim.trace.of(result).attempts]


def kill_runner(sim, result, after):
    sim.run(sim.started(result))
    sim.advance(after)
    sim.kill(worker=sim.trace.of(result).attempts[-1].worker)


@pytest.mark.django_db(transaction=True)
def test_committed_rows_and_a_worker_killed(sim):
    note = Note.objects.create(text="a")
    result = tasks.finish.delay(note.pk)
    kill_runner(sim, result, after=2)
    assert result.get(timeout=500) == 1
    note.refresh_from_db()
    assert note.done == 1
    assert states(sim, result) == ["LOST", "SUCCESS"]


@pytest.mark.django_db
def test_rows_in_the_transaction_of_a_test_are_seen(sim):
    note = Note.objects.create(text="a")
    result = tasks.finish.delay(note.pk)
    kill_runner(sim, result, after=2)
    sim.run()
    note.refresh_from_db()
    assert note.done == 1


@pytest.mark.django_db
def test_and_they_are_rolled_back_at_its_end():
    assert Note.objects.count() == 0


@pytest.mark.django_db
def test_a_killed_tasks_savepoint_is_rolled_back(sim):
    note = Note.objects.create(text="a")
    result = tasks.finish_in_a_transaction.delay(note.pk)
    kill_runner(sim, result, after=2)
    note.refresh_from_db()
    assert note.done == 0
    sim.run()
    note.refresh_from_db()
    assert note.done == 1
    assert connection.savepoint_ids == []


@pytest.mark.django_db
def test_and_the_transaction_around_it_is_whole():
    assert Note.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_killed_tasks_transaction_is_rolled_back(sim):
    note = Note.objects.create(text="a")
    result = tasks.finish_in_a_transaction.delay(note.pk)
    kill_runner(sim, result, after=2)
    note.refresh_from_db()
    assert note.done == 0
    sim.run()
    note.refresh_from_db()
    assert note.done == 1


@in_file
@pytest.mark.django_db(transaction=True)
def test_uncommitted_rows_are_not_seen(sim):
    with transaction.atomic():
        Note.objects.create(text="a")
        result = tasks.count.delay()
        sim.run()
        assert result.get(timeout=10) == 0


@pytest.mark.django_db(transaction=True)
def test_on_commit(sim):
    with transaction.atomic():
        note = Note.objects.create(text="a")
        transaction.on_commit(lambda: tasks.finish.delay(note.pk))
        assert not sim.trace.where("Published")
    sim.run()
    note.refresh_from_db()
    assert note.done == 1


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_waited_for_in_virtual_time(sim):
    note = Note.objects.create(text="a")
    holder = tasks.finish_in_a_transaction.delay(note.pk)
    sim.run(sim.started(holder))
    sim.advance(3)
    waiter = tasks.mark.delay(note.pk)
    sim.run()
    held, waited = sim.trace.of(holder).attempts[0], sim.trace.of(waiter).attempts[0]
    assert waited.started < held.ended <= waited.ended
    assert waited.state == "SUCCESS"
    note.refresh_from_db()
    assert (note.text, note.done) == ("marked", 1)


def count_in_a_transaction():
    Note.objects.all().delete()
    with transaction.atomic():
        Note.objects.create(text="a")
        tasks.count.delay()


@in_file
@pytest.mark.django_db(transaction=True)
def test_a_comparison_with_eager_mode_sees_what_is_called_before_the_commit():
    found = {hidden.kind: str(hidden) for hidden in compare_eager(app, count_in_a_transaction)}
    assert "inside an open transaction" in found.pop("transaction")
    assert "the result is 1 in eager mode and 0 in a worker" in found.pop("serialization")
    assert not found


@pytest.mark.django_db
def test_the_transaction_of_a_test_case_is_not_the_functions_own():
    assert [hidden.kind for hidden in compare_eager(app, count_in_a_transaction)] == ["transaction"]
    assert compare_eager(app, tasks.count.delay) == []


class InATestCase(TestCase):
    def test_it(self):
        note = Note.objects.create(text="a")
        with Simulation(app, workers=2) as sim:
            result = tasks.finish.delay(note.pk)
            kill_runner(sim, result, after=2)
            assert result.get(timeout=500) == 1
        assert Note.objects.get().done == 1


class InATransactionTestCase(TransactionTestCase):
    def test_it(self):
        note = Note.objects.create(text="a")
        with Simulation(app, workers=2) as sim:
            result = tasks.finish.delay(note.pk)
            kill_runner(sim, result, after=2)
            assert result.get(timeout=500) == 1
        assert Note.objects.get().done == 1
