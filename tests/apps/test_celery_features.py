"""What users' apps do, each tried with two workers; the world's own tests say what each part does."""

import contextvars
import logging
import os
import subprocess
import sys
import textwrap
import time
import unittest
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
from celery import Celery, Task, chain, chord, group, shared_task, signals
from celery.contrib.abortable import AbortableAsyncResult, AbortableTask
from pydantic import BaseModel

from tasksim import Simulation
from tasksim.errors import UsageError

BROKERS = ["amqp://", "redis://"]


def make_app(name: str, **conf) -> Celery:
    app = Celery(name, broker="amqp://", backend="redis://")
    app.conf.update(conf)
    return app


@pytest.fixture(params=BROKERS)
def broker(request) -> str:
    return request.param


def states(sim, result) -> list[str]:
    return [one.state for one in sim.trace.of(result).attempts]


class Counting(Task):
    """State on `self`: one for each pool process."""

    calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.run(*args, **kwargs)


def test_state_on_a_task_belongs_to_each_pool_process(broker):
    app = Celery("counting", broker=broker, backend="redis://", task_cls=Counting)

    @app.task(shared=False, bind=True)
    def count(self):
        return self.calls

    with Simulation(app, workers=2, concurrency=1) as sim:
        results = [count.delay() for _ in range(8)]
        values = [result.get(timeout=10) for result in results]
        by_process = {}
        for attempt in sim.trace.attempts:
            by_process.setdefault(attempt.process, []).append(values[[r.id for r in results].index(attempt.task_id)])
        assert all(seen == list(range(1, len(seen) + 1)) for seen in by_process.values())
        sim.kill(worker="w1")
        sim.start_worker("w1", wait=True)
    assert count.calls == 0


def test_canvas_with_a_kill_in_each_part(broker):
    app = make_app("canvas", task_acks_late=True, task_reject_on_worker_lost=True)
    app.conf.broker_transport_options = {"visibility_timeout": 30}

    @app.task(shared=False)
    def add(x, y):
        time.sleep(2)
        return x + y

    @app.task(shared=False)
    def total(numbers):
        time.sleep(2)
        return sum(numbers)

    with Simulation(app, workers=2, broker=broker) as sim:
        sim.kill(worker="w1", when=sim.started(add, worker="w1"))
        assert chain(add.s(1, 2), add.s(3), add.s(4)).delay().get(timeout=500) == 10
        sim.start_worker("w1", wait=True)
        sim.kill(worker="w2", when=sim.started(total))
        result = chord(group(add.s(n, n) for n in range(4)), total.s()).delay()
        sim.run(sim.started(total, worker="w1"))
        sim.kill(task=total)
        assert result.get(timeout=500) == 12
        assert [one.state for one in sim.trace.attempts].count("LOST") >= 2


def test_retry_by_hand_goes_on_at_the_other_worker(broker):
    app = make_app("retry")

    @app.task(shared=False, bind=True, max_retries=3)
    def flaky(self):
        if self.request.retries < 2:
            raise self.retry(countdown=60)
        return self.request.retries

    with Simulation(app, workers=2, broker=broker) as sim:
        result = flaky.delay()
        sim.run(until=1)
        sim.kill(worker=sim.trace.of(result).attempts[0].worker)
        assert result.get(timeout=5000) == 2
        assert states(sim, result) == ["RETRY", "RETRY", "SUCCESS"]


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # redis-py 8, in Celery's own code
def test_abortable(broker):
    app = make_app("abortable")

    @app.task(shared=False, bind=True, base=AbortableTask)
    def count(self):
        for number in range(100):
            if self.is_aborted():
                return number
            time.sleep(1)

    with Simulation(app, workers=2, broker=broker) as sim:
        result = count.delay()
        sim.advance(9.5)
        AbortableAsyncResult(result.id, backend=app.backend).abort()
        sim.run()
        assert sim.now == pytest.approx(10, abs=0.1)


class Order(BaseModel):
    number: int


def test_pydantic(broker):
    app = make_app("pydantic")

    @app.task(shared=False, pydantic=True, acks_late=True)
    def bill(order: Order) -> Order:
        return Order(number=order.number + 1)

    with Simulation(app, workers=2, broker=broker) as sim:
        sim.kill(worker="w1", when=sim.started(bill))
        assert bill.delay({"number": 1}).get(timeout=7200) == {"number": 2}


def test_beat_on_after_configure_outlives_a_worker():
    app = make_app("periodic")

    @app.task(shared=False)
    def say(what):
        return what

    @app.on_after_configure.connect
    def set_up(sender, **_):
        sender.add_periodic_task(10.0, say.s("hello"), name="each 10 s")

    with Simulation(app, workers=2, beat=True) as sim:
        sim.kill(worker="w1", at=25)
        sim.run(until=61)
        assert [round(one.started) for one in sim.trace.attempts] == [8, 18, 28, 38, 48, 58]


def test_process_signals_run_once_for_each_process():
    app = make_app("signals")
    seen = []

    @app.task(shared=False)
    def nothing():
        pass

    def on_process(**_):
        seen.append(sim.current_process.name)

    signals.worker_process_init.connect(on_process)
    try:
        with Simulation(app, workers=2, concurrency=1) as sim:
            sim.run(until=1)
            sim.kill(worker="w1")
            sim.start_worker("w1", wait=True)
    finally:
        signals.worker_process_init.disconnect(on_process)
    assert sorted(seen) == ["w1/1", "w1/2", "w2/1"]


def test_prints_and_logging_reach_the_test(capsys, caplog):
    app = make_app("talking")

    @app.task(shared=False)
    def talk():
        print("said")  # noqa: T201
        logging.getLogger("shop").warning("logged")

    with Simulation(app, workers=2):
        talk.delay().get(timeout=10)
    assert capsys.readouterr().out == "said\n"
    assert [record.message for record in caplog.records if record.name == "shop"] == ["logged"]


def test_an_app_that_was_used_before_and_two_simulations_in_a_row():
    app = make_app("used")

    @app.task(shared=False, acks_late=True)
    def add(x, y):
        return x + y

    app.pool  # noqa: B018 (opens the pool's machinery)
    app.amqp.queues  # noqa: B018
    assert add(1, 2) == 3
    digests = []
    for _ in range(2):
        with Simulation(app, workers=2, seed=3) as sim:
            sim.kill(worker="w1", when=sim.started(add))
            assert add.delay(1, 2).get(timeout=10) == 3
            sim.run()
            digests.append(sim.trace.digest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("options", "server"), [({}, "redis"), ({"broker": "amqp://"}, "rabbitmq"), ({"broker": "redis://here"}, "redis")]
)
def test_settings_from_the_environment_and_in_their_place(monkeypatch, options, server):
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere:1234/5")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "rpc://")
    app = Celery("environment")

    @app.task(shared=False)
    def add(x, y):
        return x + y

    with Simulation(app, workers=2, backend="cache+memory://", **options) as sim:
        assert add.delay(1, 2).get(timeout=10) == 3
        assert sim.queues["celery"].consumers == 2
        assert {one.server for one in sim.trace.where("Connected")} == {server}
    assert os.environ["CELERY_BROKER_URL"] == "redis://elsewhere:1234/5"


def test_shared_task_and_autodiscovery(tmp_path, monkeypatch):
    package = tmp_path / "discovered"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(
        "from celery import shared_task\n\n@shared_task\ndef double(x):\n    return 2 * x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    app = make_app("discovering")
    app.autodiscover_tasks(["discovered"])
    with Simulation(app, workers=2) as sim:
        result = app.send_task("discovered.tasks.double", (4,))
        assert result.get(timeout=10) == 8
        sim.run()


@shared_task
def triple(x):
    return 3 * x


class InATestCase(unittest.TestCase):
    def test_it(self):
        app = make_app("unittest")
        app.set_current()
        with Simulation(app, workers=2) as sim:
            result = triple.delay(2)
            assert result.get(timeout=10) == 6
            sim.kill(worker="w1")
            assert triple.delay(3).get(timeout=10) == 9


def test_a_program_does_not_see_the_tests_context():
    app = make_app("context")
    variable = contextvars.ContextVar("variable", default="unset")

    @app.task(shared=False)
    def read():
        return variable.get()

    token = variable.set("set by the test")
    try:
        with Simulation(app, workers=2):
            assert read.delay().get(timeout=10) == "unset"
    finally:
        variable.reset(token)


SCRIPT = """
    from celery import Celery
    from tasksim import Simulation

    app = Celery("script", broker="{broker}", backend="redis://")

    @app.task(shared=False, acks_late=True)
    def add(x, y):
        return x + y

    for seed in range(2):
        with Simulation(app, workers=2, seed=seed) as sim:
            sim.kill(worker="w1", when=sim.started(add))
            assert add.delay(1, 2).get(timeout=7200) == 3
            sim.run()
    print(len(sim.trace) > 0)
"""


def test_a_plain_script_with_warnings_as_errors(tmp_path, broker):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(broker=broker))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_two_simulations_at_one_time_are_refused():
    with (
        Simulation(make_app("outer")),
        pytest.raises(UsageError, match="running already"),
        Simulation(make_app("inner")),
    ):
        pass
    with Simulation(make_app("next")) as sim:
        assert sim.now == 0


class Remembering(Task):
    """Keeps a list on its instance, made before any process was."""

    def __init__(self):
        self.seen = []

    def __call__(self, *args, **kwargs):
        self.seen.append(args[0])
        return self.run(*args, **kwargs)


def test_containers_on_a_task_belong_to_each_process():
    app = make_app("remembering")

    @app.task(shared=False, bind=True, base=Remembering)
    def remember(self, number):
        return list(self.seen)

    with Simulation(app, workers=2, concurrency=1):
        results = [remember.delay(number) for number in range(6)]
        assert sorted(result.get(timeout=10) for result in results) == [[0], [0, 2], [0, 2, 4], [1], [1, 3], [1, 3, 5]]
    assert remember.seen == []


def test_a_thread_pool_of_multiprocessing_in_a_task():
    app = make_app("pools")

    @app.task(shared=False)
    def work():
        with ThreadPool(2) as pool:
            return pool.map(lambda seconds: time.sleep(seconds) or seconds, [3, 4])

    with Simulation(app, workers=2) as sim:
        assert work.delay().get(timeout=10) == [3, 4]
        assert sim.now == pytest.approx(4, abs=0.2)


def test_another_broker_for_an_app_whose_settings_come_from_an_object():
    app = Celery("configured")
    app.config_from_object({"broker_url": "redis://", "result_backend": "redis://", "task_acks_late": True})
    app.conf.update(task_track_started=True)

    @app.task(shared=False)
    def add(x, y):
        return x + y

    workers = {"w1": {}, "w2": {"conf": {"worker_prefetch_multiplier": 1}}}
    with Simulation(app, workers=workers, broker="amqp://") as sim:
        sim.kill(worker="w1", when=sim.started(add))
        assert add.delay(1, 2).get(timeout=10) == 3
        assert sim.trace.where("Connected", server="rabbitmq")
