"""Every fixture of `celery.contrib.pytest`, and `celery.contrib.testing`, with the drop-in, as the guide shows them."""

from __future__ import annotations

import pytest

TASKS = """
from celery import shared_task

@shared_task
def mul(x, y):
    return x * y
"""

#: The guide's "Fixtures", "session scope": how to configure what the fixtures make.
CONFTEST = """
import os
import pytest
from celery import Task

pytest_plugins = ("celery.contrib.pytest",)


class Greet(Task):
    name = "greet"

    def run(self, whom):
        return f"hello {whom} from {self.app.main}"


@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": os.environ["SUITE_BROKER"], "result_backend": os.environ["SUITE_BACKEND"],
            "task_default_queue": "suite", "worker_pool_restarts": True}


@pytest.fixture(scope="session")
def celery_parameters():
    return {"name": "suite", "strict_typing": False}


@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"queues": ("suite", "high-prio"), "concurrency": 2}


@pytest.fixture(scope="session")
def celery_worker_pool():
    return os.environ["SUITE_POOL"]


@pytest.fixture(scope="session")
def celery_enable_logging():
    return True


@pytest.fixture(scope="session")
def celery_includes():
    return ["suite_tasks"]


@pytest.fixture(scope="session")
def celery_class_tasks():
    return [Greet]
"""

SUITE = """
import os, time
import celery
import pytest
from celery import shared_task


def test_create_task(celery_app, celery_worker):
    @celery_app.task
    def mul(x, y):
        time.sleep(60)
        return x * y

    celery_worker.reload()
    assert mul.delay(4, 4).get(timeout=100) == 16


def test_configuration(celery_app):
    assert celery_app.conf.broker_url == os.environ["SUITE_BROKER"]
    assert celery_app.conf.task_default_queue == "suite"
    assert celery_app.main == "suite"
    assert not celery_app.strict_typing


@pytest.mark.celery(result_backend="cache+memory://", task_default_queue="high-prio")
def test_the_mark_overrides_the_configuration(celery_app, celery_worker):
    @celery_app.task
    def where():
        return where.request.delivery_info["routing_key"]

    celery_worker.reload()
    assert type(celery_app.backend).__name__ == "CacheBackend"
    if os.environ["SUITE_POOL"] != "prefork":  # each process has a cache of its own
        assert where.delay().get(timeout=10) == "high-prio"


def test_the_worker_has_its_parameters(celery_app, celery_worker):
    assert sorted(celery_worker.app.amqp.queues.consume_from) == ["high-prio", "suite"]
    assert celery_worker.concurrency == 2
    assert os.environ["SUITE_POOL"] in celery_worker.pool_cls.__module__.replace("thread", "threads")
    queues = celery_app.control.inspect(timeout=1).active_queues()[celery_worker.hostname]
    assert sorted(queue["name"] for queue in queues) == ["high-prio", "suite"]


def test_depends_on_current_app(depends_on_current_app, celery_app, celery_worker):
    @shared_task
    def late(x):
        return x

    celery_worker.reload()
    assert celery.current_app._get_current_object() is celery_app
    assert late.apply_async((3,), countdown=600).get(timeout=4000) == 3
"""

SESSION = """
import os, time
import pytest
from suite_tasks import mul

pytestmark = pytest.mark.usefixtures("celery_session_app", "celery_session_worker")


def test_included_tasks():
    began = time.monotonic()
    assert mul.apply_async((4, 5), countdown=600).get(timeout=4000) == 20
    assert time.monotonic() - began > 600


def test_class_tasks(celery_session_app):
    assert celery_session_app.tasks["greet"].delay("Ada").get(timeout=10) == "hello Ada from suite"


def test_the_worker_is_that_of_the_session(celery_session_worker, celery_session_app):
    stats = celery_session_app.control.inspect(timeout=1).stats()
    assert list(stats) == [celery_session_worker.hostname]
    assert stats[celery_session_worker.hostname]["pid"] == os.getpid()
"""

TRAP = """
import celery
import pytest
from celery import current_app

@pytest.fixture(scope="session")
def use_celery_app_trap():
    return True

def test_the_trap_says_who_uses_the_current_app(celery_app):
    with pytest.raises(RuntimeError, match="Test depends on current_app"):
        current_app.conf.broker_url

def test_who_depends_on_it_says_so(celery_app, depends_on_current_app):
    assert current_app.conf.broker_url == celery_app.conf.broker_url
"""

UNITTEST = """
import time, unittest
from celery import Celery
from celery.contrib.testing import tasks
from celery.contrib.testing.app import TestApp, setup_default_app
from celery.contrib.testing.manager import Manager
from celery.contrib.testing.mocks import ContextMock, TaskMessage, task_message_from_sig
from celery.contrib.testing.worker import start_worker

app = Celery("own", broker="{broker}", backend="{backend}", set_as_current=False)
app.conf.broker_connection_retry_on_startup = True
app.loader.import_task_module("celery.contrib.testing.tasks")

@app.task
def slow(seconds):
    time.sleep(seconds)
    return seconds

class SomeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.worker = start_worker(app, perform_ping_check=True, pool="{pool}", shutdown_timeout=30)
        cls.worker.__enter__()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.worker.__exit__(None, None, None)

    def test_a_task(self):
        self.assertEqual(slow.delay(60).get(timeout=100), 60)

    def test_the_manager(self):
        manager = Manager(app)
        result = slow.delay(10)
        if "{pool}" != "solo":  # which answers when its task is done
            manager.assert_accepted([result.id], interval=0.5)
        manager.join(result, timeout=60)
        self.assertEqual(result.result, 10)
        manager.wait_until_idle()
        self.assertFalse(any(app.control.inspect(timeout=1).active().values()))

    def test_a_test_app_is_the_default_within(self):
        with setup_default_app(TestApp(set_as_current=False)) as found:
            pass
        self.assertEqual(TaskMessage("slow", args=(1,)).headers["task"], "slow")
"""

COMBINATIONS = [("amqp://", "prefork"), ("redis://", "prefork"), ("amqp://", "solo"), ("redis://", "threads"),
                ("memory://", "solo")]  # fmt: skip


@pytest.fixture
def suite(run, pytester, monkeypatch):
    """Runs a suite with the drop-in switched on: `pool` on `broker`."""

    def run_suite(text, broker, pool):
        for name, value in {"BROKER": broker, "BACKEND": "redis://", "POOL": pool}.items():
            monkeypatch.setenv(f"SUITE_{name}", value)
        pytester.makepyfile(test_suite=text, suite_tasks=TASKS)
        return run("-o", "tasksim_dropin=true", "-W", "ignore", "-p", "no:randomly", subprocess=True)

    return run_suite


@pytest.mark.parametrize(("broker", "pool"), COMBINATIONS)
def test_fixtures_of_one_test(suite, pytester, broker, pool):
    pytester.makeconftest(CONFTEST)
    suite(SUITE, broker, pool).assert_outcomes(passed=5)


@pytest.mark.parametrize(("broker", "pool"), COMBINATIONS)
def test_fixtures_of_the_session(suite, pytester, broker, pool):
    pytester.makeconftest(CONFTEST)
    suite(SESSION, broker, pool).assert_outcomes(passed=3)


def test_the_app_trap(suite, pytester):
    pytester.makeconftest('pytest_plugins = ("celery.contrib.pytest",)')
    suite(TRAP, "amqp://", "solo").assert_outcomes(passed=2)


@pytest.mark.parametrize(("broker", "pool"), COMBINATIONS)
def test_start_worker_in_a_unittest_class(suite, broker, pool):
    text = UNITTEST.format(broker=broker, backend="redis://", pool=pool)
    suite(text, broker, pool).assert_outcomes(passed=3)
