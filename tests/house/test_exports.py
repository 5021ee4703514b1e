"""What is public is proved."""

from __future__ import annotations

import subprocess
import sys

import tasksim


def test_every_public_name_exists() -> None:
    for name in tasksim.__all__:
        assert getattr(tasksim, name) is not None
    assert set(dir(tasksim)) == set(tasksim.__all__)


def test_importing_the_package_or_the_plugin_loads_no_engine() -> None:
    code = (
        "import sys, tasksim, tasksim.pytest_plugin;"
        "print([name for name in ('celery', 'kombu', 'greenlet', 'fakeredis', 'redis', 'freezegun', 'hypothesis')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_kernel_and_unix_load_no_celery() -> None:
    code = (
        "import sys, tasksim.unix.system, tasksim.unix.poll, tasksim.unix.socket, tasksim.unix.thread;"
        "print([name for name in ('celery', 'kombu', 'billiard', 'amqp', 'redis') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
