"""A Django project with Celery, as Celery's documentation has it."""

from site1.celery import app as celery_app

__all__ = ["celery_app"]
