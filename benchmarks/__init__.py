"""What tasksim costs, measured against Celery's own worker for tests. `python -m benchmarks` prints all numbers.

__main__   the command line, the table of what is printed
table      the benchmarks: how each is put together from runs, and its bound
runs       one run of one thing, in a process of its own
share      which part of the processor time is whose
"""
