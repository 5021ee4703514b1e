"""Scenarios that run: the shipped ones, and what is said when something does not hold."""

import re
import sys
from pathlib import Path

import celery._state
import pytest
import shop
from shop import gateway

from tasksim.errors import ScenarioError
from tasksim.scenario import load, loads, run_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
HEAD = "version: 1\napp: shop.celery:app\n"
ONE_CHARGE = HEAD + "calls:\n  - {task: shop.tasks.charge, args: [7], id: pay}\n"


@pytest.fixture(autouse=True)
def fresh_shop():
    shop.reset()
    yield
    shop.reset()


def run(source, **options):
    return run_scenario(loads(source, str(SCENARIOS / "story.yaml")), **options)


def findings(source):
    return [(finding.line, finding.message.partition(";")[0]) for finding in run(source).findings]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_holds(path, seed):
    outcome = run_scenario(load(path), seed=seed)
    assert outcome.ok, outcome.findings
    assert outcome.seed == seed


def test_the_same_seed_gives_the_same_run():
    digests = []
    for _ in range(2):
        shop.reset()
        digests.append(run_scenario(load(SCENARIOS / "worker_lost.yaml"), seed=3).trace.digest())
    assert digests[0] == digests[1]


def test_what_does_not_hold_is_named_with_its_line():
    assert findings(
        ONE_CHARGE
        + """\
expect:
  - {task: pay, state: FAILURE}
  - {task: pay, starts: 2}
  - {task: pay, attempts: [w1, w2]}
  - {task: pay, start_times: [0, 1s]}
  - {task: pay, result: unpaid}
  - {event: Acked, queue: payments, count: 3}
  - {event: Redelivered}
  - {queue: payments, ready: 1}
  - {queue: parcels, ready: 1}
  - {value: shop.gateway.charges, equals: [8]}
  - {value: shop.gateway.discounts, equals: 1}
  - {value: shopping.gateway, equals: 1}
  - {task: shop.tasks.send_mail, starts: 1}
"""
    ) == [
        (6, "`pay`: expected state FAILURE, found SUCCESS"),
        (7, "`pay`: expected 2 starts, found 1"),
        (8, "`pay`: expected attempts on w1, w2, found w1"),
        (9, "`pay`: expected starts at 0, 1 s, found 0 s"),
        (10, "`pay`: expected result 'unpaid', found 'paid'"),
        (11, "expected Acked queue=payments 3 times, found 1"),
        (12, "expected Redelivered at least once, found none"),
        (13, "queue `payments`: expected 1 ready, found 0"),
        (14, "there is no queue `parcels`"),
        (15, "`shop.gateway.charges`: expected [8], found [7]"),
        (16, "`shop.gateway.discounts` cannot be evaluated: `shop.gateway` has no `discounts`"),
        (17, "`shopping.gateway` cannot be evaluated: there is no module `shopping`"),
        (18, "`shop.tasks.send_mail`: expected it to be called, but there is no message of it"),
    ]


def test_the_task_of_an_event_may_be_the_id_of_a_call():
    calls = HEAD + "calls:\n  - {task: shop.tasks.charge, args: [7], id: pay, repeat: 2}\n"
    assert findings(
        calls
        + """\
expect:
  - {event: Started, task: pay-1, count: 1}
  - {event: Started, task: shop.tasks.charge, count: 2}
  - {event: Started, task: pay-2, task_id: pay-2, count: 0}
  - {event: Started, task: pay-2, count: 3}
"""
    ) == [(9, "expected Started task=pay-2 3 times, found 1")]


@pytest.mark.parametrize("expected", ["starts: 0", "attempts: []", "starts: 0, attempts: [], start_times: []"])
def test_that_a_task_is_not_started_holds_where_nobody_calls_it(expected):
    assert findings(ONE_CHARGE + f"expect: [{{task: shop.tasks.send_mail, {expected}}}]") == []


@pytest.mark.parametrize("expected", ["starts: 1", "starts: 0, state: SUCCESS", "attempts: [], result: null"])
def test_more_than_that_does_not_hold_where_nobody_calls_it(expected):
    ((_, message),) = findings(ONE_CHARGE + f"expect: [{{task: shop.tasks.send_mail, {expected}}}]")
    assert message == "`shop.tasks.send_mail`: expected it to be called, but there is no message of it"


def test_a_fault_that_never_happens_is_a_finding_with_its_line():
    told = "a fault never happened: kill w1 waits for Started number 3 with task=shop.tasks.charge"
    assert findings(
        ONE_CHARGE
        + """\
faults:
  - cut: {worker: w1}
    when: {event: Acked}
  - kill: {worker: w1}
    when: {event: Started, task: shop.tasks.charge, nth: 3}
"""
    ) == [(8, told)]


def test_calls_are_published_at_their_times():
    outcome = run(
        HEAD
        + """\
calls:
  - {task: shop.tasks.send_mail, args: [2, later], at: 1m, countdown: 10s}
  - {task: shop.tasks.send_mail, args: [1, often], repeat: 3, every: 500ms, id: often}
expect:
  - {task: often-3, start_times: [1]}
  - {task: shop.tasks.send_mail, start_times: [0, 500ms, 1, 70]}
"""
    )
    assert outcome.ok, outcome.findings


def test_every_kind_of_fault_reaches_the_simulation():
    outcome = run(
        HEAD
        + """\
settings: {worker_cancel_long_running_tasks_on_connection_loss: true}
workers:
  w1: {concurrency: 1, queues: [default], options: {max_tasks_per_child: 1}}
  w2: {queues: "payments, mail", settings: {worker_prefetch_multiplier: 1}}
calls:
  - {task: shop.tasks.charge, args: [7], id: pay, repeat: 3, every: 2s}
  - {task: shop.tasks.reserve_stock, args: [cup], repeat: 2}
faults:
  - kill: {task: pay-1}
    when: {event: Started, task: pay-1}
  - {cut: w2, at: 10}
  - {cut: {client: true}, at: 15}
  - {refuse: 3s, at: 20}
  - {restart_broker: 2s, at: 30}
  - {freeze: w1, at: 50}
  - {stop: {worker: w2, how: cold}, at: 60}
  - {kill: w1, at: 70}
until: 100s
expect:
  - {task: pay-1, starts: 2}
  - {task: shop.tasks.charge, state: SUCCESS}
  - {event: ProcessStarted, worker: w1, count: 3}
  - {event: Disconnected, process: client, reason: cut}
  - {event: ServerStarted, time: 32}
  - {event: WorkerDown, worker: w1, signal: 9}
  - {event: WorkerDown, worker: w2}
"""
    )
    assert outcome.ok, outcome.findings
    kinds = [event.kind.split()[0] for event in outcome.trace.where("Fault")]
    assert kinds == ["kill", "cut", "cut", "refuse", "restart", "freeze", "stop", "kill"]


def test_what_is_frozen_can_thaw():
    outcome = run(
        ONE_CHARGE
        + """\
settings: {broker_heartbeat: 0}
faults:
  - {freeze: w1, at: 100ms}
  - {thaw: w1, at: 20s}
expect:
  - {task: pay, state: SUCCESS, starts: 1}
  - {event: Acked, time: 20, task_id: pay}
"""
    )
    assert outcome.ok, outcome.findings
    assert [event.kind for event in outcome.trace.where("Fault")] == ["freeze", "thaw"]


def test_functions_are_called_before_anything_happens():
    outcome = run(
        ONE_CHARGE
        + """\
setup:
  - shop.reset
  - {call: shop.gateway.decline, args: [7]}
  - {call: shop.gateway.answer_in, kwargs: {seconds: 3}}
expect:
  - {task: pay, state: FAILURE}
"""
    )
    assert outcome.ok, outcome.findings
    assert outcome.seconds == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("shop.rest", "`shop.rest` cannot be called: `shop` has no `rest`"),
        ("{call: shop.stock.take, args: [cup, 11]}", "`shop.stock.take` raised OutOfStock"),
        ("sys.exit", "`sys.exit` raised SystemExit()"),
    ],
)
def test_a_setup_that_fails_is_named_with_its_line(call, message):
    with pytest.raises(ScenarioError) as error:
        run(HEAD + f"setup:\n  - {call}\n")
    assert f"story.yaml:4: {message}" in str(error.value)


def test_a_check_that_finds_something_is_a_finding():
    source = ONE_CHARGE.replace("charge", "nightly_report").replace("args: [7], ", "") + "until: 10\n"
    assert run(source + "expect: [{check: all}]").ok
    assert findings(source + "expect:\n  - {check: nothing_lost, incident: I6}\n") == [
        (7, "expected nothing_lost to find incident I6, which did not happen")
    ]


def test_a_check_may_be_expected_to_find_an_incident():
    source = (
        HEAD
        + """\
setup: [{call: shop.invoices.too_big, args: [1]}]
settings: {task_reject_on_worker_lost: true}
calls: [{task: shop.tasks.render_invoice, args: [1]}]
until: 30
expect:
"""
    )
    assert run(source + "  - {check: all, incident: I8}\n").ok
    shop.reset()
    ((line, message),) = findings(source + "  - check: attempts_bounded\n")
    assert line == 8
    assert message.startswith("attempts_bounded: shop.tasks.render_invoice[")


def test_the_end_may_be_a_moment():
    night = "start: 2026-01-31T02:50:00Z\nbeat: true\nuntil: 20m\n"
    outcome = run(HEAD + night + "expect:\n  - {event: BeatSent, time: 600, count: 1}\n")
    assert outcome.ok, outcome.findings
    assert outcome.seconds == 1200


def test_settings_hold_for_the_run_and_are_put_back():
    source = ONE_CHARGE + "settings: {result_expires: 5, task_acks_late: true}\nexpect: [{task: pay, state: SUCCESS}]"
    before = dict(shop.celery_app.conf.changes), shop.tasks.send_mail.acks_late
    assert run(source).ok
    assert (dict(shop.celery_app.conf.changes), shop.tasks.send_mail.acks_late) == before


def test_a_task_takes_the_scenarios_settings_where_it_has_none_of_its_own():
    assert run(ONE_CHARGE).trace.of("pay").states == ["SUCCESS"]
    assert run(ONE_CHARGE + "settings: {task_ignore_result: true}\n").trace.of("pay").states == []
    assert run(ONE_CHARGE).trace.of("pay").states == ["SUCCESS"]


def test_the_import_path_is_as_before():
    before = list(sys.path)
    run(ONE_CHARGE)
    assert sys.path == before


def test_a_failed_tasks_result_is_the_exceptions_repr():
    gateway.decline(7)
    outcome = run(ONE_CHARGE + "expect:\n  - {task: pay, state: FAILURE, result: \"CardDeclined('order 7')\"}\n")
    assert outcome.ok, outcome.findings


UNFIT = {
    "no module": ("version: 1\napp: shap.celery:app", 2, "there is no module `shap`"),
    "no attribute": ("version: 1\napp: shop.celery:ap", 2, "`shop.celery` has no attribute `ap`"),
    "no app": ("version: 1\napp: shop.gateway:charges", 2, "`shop.gateway:charges` is no Celery app but list"),
    "no setting": (
        HEAD + "settings: {task_ack_late: true}",
        3,
        "there is no setting `task_ack_late`; did you mean `task_acks_late`?",
    ),
    "no task": (
        HEAD + "calls:\n  - task: shop.tasks.change",
        4,
        "the app has no task `shop.tasks.change`; did you mean `shop.tasks.charge`?",
    ),
    "missing argument": (
        HEAD + "calls:\n  - task: shop.tasks.charge",
        4,
        "`shop.tasks.charge` cannot be called so: charge() missing 1 required positional argument: 'order'",
    ),
    "no target": (
        HEAD + "faults:\n  - {kill: {task: pay}, at: 1}",
        4,
        "the app has no task `pay`, nor is there a call with this id; there are: ",
    ),
    "nearly an id": (
        HEAD + "calls: [{task: shop.tasks.charge, args: [7], id: first}]\nexpect:\n  - {task: frist, starts: 1}",
        5,
        "the app has no task `frist`, nor is there a call with this id; did you mean `first`?",
    ),
    "nearly a task": (
        HEAD + "faults:\n  - {kill: {task: shop.tasks.chrage}, at: 1}",
        4,
        "nor is there a call with this id; did you mean `shop.tasks.charge`?",
    ),
    "a worker's option": (
        HEAD + "workers:\n  w1:\n  w2: {options: {hostnam: x}}",
        5,
        "no worker has the option 'hostnam'",
    ),
    "a late worker's option": (
        HEAD + "workers:\n  w1:\n  w2: {start: 5s, options: {hostnam: x}}",
        5,
        "in a scenario, settings stand in the worker's key `settings`",
    ),
    "a worker's setting": (
        HEAD + "workers:\n  w1:\n  w2: {settings: {task_ack_late: true}}",
        5,
        "there is no setting 'task_ack_late'; did you mean 'task_acks_late'?",
    ),
    "a worker's pool": (HEAD + "workers:\n  w1: {options: {pool: gevent}}", 4, "worker w1: the pool gevent is not"),
    "everybody's pool": (
        HEAD + "settings: {worker_pool: gevent}\nworkers: 1",
        3,
        "in a scenario: `settings: {worker_pool: threads}`",
    ),
    "no URL": (HEAD + "broker: localhost", 3, "the broker URL 'localhost' names no transport"),
    "another broker": (HEAD + "broker: sqs://", 3, "in a scenario: `broker: amqp://` or `broker: redis://`"),
    "another broker in the settings": (HEAD + "seed: 1\nsettings: {broker_url: sqs://}", 4, "the broker sqs:// is not"),
    "another store": (HEAD + "backend: mongodb://", 3, "the result store mongodb is not simulated"),
    "no store": (HEAD + "backend: localhost", 3, "the result store 'localhost' is neither a kind of store nor a class"),
    "evict on RabbitMQ": (
        HEAD + "faults:\n  - {slow: 1s, at: 1}\n  - {evict: 1, at: 1}",
        5,
        "evict: rabbitmq is no Redis server",
    ),
    "evict at an event": (
        ONE_CHARGE + "faults:\n  - {stop: w1, at: 9}\n  - {evict: 1, when: {event: Started}}",
        7,
        "evict: rabbitmq is no Redis server",
    ),
    "no such server": (
        HEAD + "faults:\n  - {slow: {delay: 1, server: foo}, at: 1}",
        4,
        "server='foo': there is no such server",
    ),
    "what a stop cannot lose": (
        HEAD + "faults:\n  - {restart_broker: {lost: 1}, at: 1}",
        4,
        "a server that stops in order loses none",
    ),
    "what Redis cannot lose": (
        HEAD + "broker: redis://\nfaults:\n  - {restart_broker: {how: kill, lost: 1}, at: 1}",
        5,
        "what Redis loses follows from its redis_config",
    ),
    "nobody to kill": (
        HEAD + "faults:\n  - {kill: {task: shop.tasks.charge}, at: 1}",
        4,
        "kill: no pool process runs shop.tasks.charge",
    ),
    "no value of a task": (HEAD + "expect:\n  - {event: Started, task: [a]}", 4, "is neither a task, nor"),
    "nobody expected": (HEAD + "expect:\n  - {task: pay, starts: 1}", 4, "the app has no task `pay`"),
}


@pytest.mark.parametrize(("source", "line", "message"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_the_app_is_named_with_its_line(source, line, message):
    with pytest.raises(ScenarioError) as caught:
        run(source)
    assert message in caught.value.message
    assert caught.value.line == line


#: Modules beside a scenario, and what is said of each that is named as the app's.
BROKEN = {
    "raises": ('raise ValueError("boo")', "`MODULE` cannot be imported: ValueError: boo (FILE:1)"),
    "exits": ("import sys\nsys.exit()", "`MODULE` cannot be imported: SystemExit (FILE:2)"),
    "is no Python": ("def f(:", "`MODULE` cannot be imported: SyntaxError: invalid syntax (MODULE.py, line 1)"),
    "needs another": ("import nosuchdep", "`MODULE` cannot be imported: there is no module `nosuchdep` (FILE:1)"),
    "has a factory": (
        "def app(): ...",
        "`MODULE:app` is no Celery app but function; if it makes one, name what it made: `made = app()` in a module",
    ),
    "has no settings": (
        "from celery import Celery\napp = Celery()\napp.config_from_object('nosuchconf')",
        "`MODULE:app` cannot be had: ModuleNotFoundError: No module named 'nosuchconf'",
    ),
    "has no tasks": (
        "from celery import Celery\napp = Celery(include=['nosuchtasks'], set_as_current=False)",
        "the tasks of `MODULE:app` cannot be loaded: ModuleNotFoundError: No module named 'nosuchtasks'",
    ),
}


@pytest.fixture
def beside(tmp_path, request, monkeypatch):
    """Write a module that has not been imported before beside a scenario; gives the scenario's path and its name."""
    module = "beside_" + re.sub(r"\W", "_", request.node.name)

    def write(source, scenario):
        (tmp_path / f"{module}.py").write_text(source)
        path = tmp_path / "story.yaml"
        path.write_text(scenario.replace("MODULE", module))
        return path, module

    before = set(celery._state._get_active_apps())
    yield write
    monkeypatch.delitem(sys.modules, module, raising=False)
    for app in set(celery._state._get_active_apps()) - before:  # a shared task of a later test would ask its settings
        celery._state._deregister_app(app)


@pytest.mark.parametrize(("source", "message"), BROKEN.values(), ids=BROKEN)
def test_an_app_that_cannot_be_had_is_told_with_its_line_and_its_reason(beside, source, message):
    path, module = beside(source, "version: 1\napp: MODULE:app\n")
    with pytest.raises(ScenarioError) as caught:
        run_scenario(load(path))
    told = message.replace("MODULE", module).replace("FILE", str(path.with_name(f"{module}.py")))
    assert str(caught.value).startswith(f"{path}:2: {told}")


def test_a_setup_whose_module_cannot_be_imported_is_told_with_the_reason(beside):
    path, module = beside("import nosuchdep", HEAD + "setup: [MODULE.reset]\n")
    with pytest.raises(ScenarioError) as caught:
        run_scenario(load(path))
    told = f"`{module}.reset` cannot be called: `{module}` cannot be imported: there is no module `nosuchdep`"
    assert told in str(caught.value)
    assert caught.value.line == 3


def test_a_value_whose_module_cannot_be_imported_is_a_finding_with_the_reason(beside):
    path, module = beside("import nosuchdep", HEAD + "expect: [{value: MODULE.total, equals: 1}]\n")
    (finding,) = run_scenario(load(path)).findings
    assert f"`{module}` cannot be imported: there is no module `nosuchdep`" in finding.message
