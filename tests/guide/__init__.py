"""Celery's user guide inside the simulation: see docs/reference/celery.md for what is where."""
