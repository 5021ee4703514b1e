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
