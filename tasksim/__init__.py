"""tasksim: your own Celery app, its workers and its broker in one process, on a virtual clock."""

__version__ = "0.1.0"
