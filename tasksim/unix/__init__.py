"""What a Unix process sees: descriptors, pipes, polling, fork, signals. Has never heard of Celery."""
