import time

from celery import shared_task
from django.db import transaction

from notes.models import Note


@shared_task(acks_late=True, reject_on_worker_lost=True)
def finish(pk):
    note = Note.objects.get(pk=pk)
    time.sleep(5)
    note.done += 1
    note.save()
    return note.done


@shared_task(acks_late=True, reject_on_worker_lost=True)
def finish_in_a_transaction(pk):
    with transaction.atomic():
        Note.objects.filter(pk=pk).update(done=99)
        time.sleep(5)
        Note.objects.filter(pk=pk).update(done=1)


@shared_task
def count():
    return Note.objects.count()


@shared_task
def mark(pk):
    Note.objects.filter(pk=pk).update(text="marked")
    return time.time()


@shared_task
def say_so_at_the_commit(pk):
    with transaction.atomic():
        Note.objects.filter(pk=pk).update(text="said")
        mark.delay_on_commit(pk)


@shared_task
def lock_both(first, second):
    with transaction.atomic():
        for pk in (first, second):
            Note.objects.select_for_update().get(pk=pk)
            time.sleep(2)


@shared_task
def locked(pk, seconds=5):
    with transaction.atomic():
        note = Note.objects.select_for_update().get(pk=pk)
        time.sleep(seconds)
        note.done += 1
        note.save()
