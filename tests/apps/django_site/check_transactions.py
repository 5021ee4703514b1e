"""Run by tests/apps/test_django.py in an interpreter of its own: transactions, commits, locks, and beat's database."""

import itertools
import os

import pytest
from django.db import connection, transaction
from notes import tasks
from notes.models import Note

from tasksim import events
from tasksim.errors import UsageError

in_file = pytest.mark.skipif(os.environ["DATABASE"] == "memory", reason="in memory SQLite locks whole tables")
on_postgres = pytest.mark.skipif(os.environ["DATABASE"] != "postgres", reason="SQLite has no row locks")


@pytest.fixture
def tasksim_options():
    return {"workers": 2}


# --- settings


@pytest.mark.django_db
def test_settings_come_from_djangos_by_their_namespace(sim):
    assert sim.app.conf.broker_url == os.environ["BROKER"]
    assert sim.app.conf.task_track_started is True
    assert tasks.count.delay().get(timeout=10) == 0


# --- publishing at the commit


@in_file
@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_too_early_does_not_find_the_row(sim):
    with transaction.atomic():
        note = Note.objects.create(text="a")
        result = tasks.finish.delay(note.pk)
        sim.advance(1)
    with pytest.raises(Note.DoesNotExist):
        result.get(timeout=60)


@pytest.mark.django_db(transaction=True)
def test_delay_on_commit_publishes_when_the_row_is_there(sim):
    with transaction.atomic():
        note = Note.objects.create(text="a")
        assert tasks.finish.delay_on_commit(note.pk) is None
        sim.advance(1)
        assert not sim.trace.where(events.Published)
    sim.run()
    note.refresh_from_db()
    assert note.done == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_never_published(sim):
    with transaction.atomic():
        tasks.finish.delay_on_commit(1)
        transaction.set_rollback(True)
    sim.run()
    assert not sim.trace.where(events.Published)


@pytest.mark.django_db(transaction=True)
def test_a_task_publishes_at_its_own_commit(sim):
    note = Note.objects.create(text="a")
    tasks.say_so_at_the_commit.delay(note.pk)
    sim.run()
    note.refresh_from_db()
    assert note.text == "marked"


@pytest.mark.django_db
def test_in_the_transaction_of_a_test_commits_are_captured(sim, django_capture_on_commit_callbacks):
    note = Note.objects.create(text="a")
    with django_capture_on_commit_callbacks(execute=True):
        tasks.finish.delay_on_commit(note.pk)
    sim.run()
    note.refresh_from_db()
    assert note.done == 1


@pytest.mark.django_db
def test_what_waits_for_a_commit_is_told_where_a_message_is_missed(sim, django_capture_on_commit_callbacks):
    note = Note.objects.create(text="a")
    tasks.finish.delay_on_commit(note.pk)
    with pytest.raises(AssertionError, match=r"transaction.on_commit .* did not fire"):
        sim.assert_published(tasks.finish, args=(note.pk,))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.finish.delay_on_commit(note.pk)
    sim.assert_published(tasks.finish, args=(note.pk,), times=1)


# --- one connection for all, or one for each


@pytest.mark.django_db
def test_a_second_process_inside_atomic_is_told_to_use_a_transactional_test(sim):
    note = Note.objects.create(text="a")
    tasks.finish_in_a_transaction.delay(note.pk)
    sim.advance(1)
    tasks.finish_in_a_transaction.delay(note.pk)
    with pytest.raises(UsageError, match=r"w\d/\d begins a transaction while w\d/\d .*transactional_db"):
        sim.run()


@pytest.mark.django_db
def test_one_after_the_other_is_fine(sim):
    note = Note.objects.create(text="a")
    for _ in range(2):
        tasks.finish_in_a_transaction.delay(note.pk)
        sim.run()
    with transaction.atomic():
        tasks.finish_in_a_transaction.delay(note.pk)
        sim.run()
    assert connection.savepoint_ids == []


@pytest.mark.django_db
def test_celerys_closing_of_connections_leaves_the_tests_own_open(sim):
    before = connection.connection
    assert tasks.count.delay().get(timeout=10) == 0
    assert connection.connection is before


# --- row locks


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_select_for_update_is_waited_for_in_virtual_time(sim):
    note = Note.objects.create(text="a")
    for _ in range(3):
        tasks.locked.delay(note.pk)
    sim.run()
    note.refresh_from_db()
    assert note.done == 3
    assert sorted(one.ended for one in sim.trace.attempts) == pytest.approx([5, 10, 15], abs=0.1)


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_a_lock_cycle_is_an_operational_error_that_names_who_waits(sim):
    first, second = Note.objects.create(text="a").pk, Note.objects.create(text="b").pk
    results = [tasks.lock_both.delay(first, second), tasks.lock_both.delay(second, first)]
    sim.run()
    assert sorted(result.state for result in results) == ["FAILURE", "SUCCESS"]
    error = str(next(result.result for result in results if result.failed()))
    assert "wait for each other's locks" in error


# --- django-celery-beat


@in_file
@pytest.mark.django_db(transaction=True)
def test_beat_reads_its_schedule_from_the_database(sim):
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    schedule, _ = IntervalSchedule.objects.get_or_create(every=10, period=IntervalSchedule.SECONDS)
    entry = PeriodicTask.objects.create(interval=schedule, name="counting", task="notes.tasks.count")
    sim.start_beat(scheduler="django_celery_beat.schedulers:DatabaseScheduler", max_interval=5)
    sim.run(until=35)
    sent = [event.time for event in sim.trace.where(events.BeatSent, entry="counting")]
    assert len(sent) >= 3
    assert [round(b - a) for a, b in itertools.pairwise(sent)] == [10] * (len(sent) - 1)
    entry.enabled = False
    entry.save()
    sim.advance(6)
    before = len(sim.trace.where(events.BeatSent))
    sim.advance(60)
    assert len(sim.trace.where(events.BeatSent)) == before
    sim.stop_beat()
    entry.refresh_from_db()
    assert entry.total_run_count == before
