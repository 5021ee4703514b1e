"""Reading scenario files: what a whole one becomes, and what is said about each mistake."""

import textwrap
from datetime import UTC, datetime

import pytest

from tasksim.errors import ScenarioError
from tasksim.scenario import begins_as_scenario, load, loads
from tasksim.scenario.schema import (
    Call,
    EventExpectation,
    Fault,
    Pattern,
    QueueExpectation,
    TaskExpectation,
    ValueExpectation,
    Worker,
)

HEAD = "version: 1\napp: shop.celery:app\n"

WHOLE = """\
version: 1
title: A story
description: All that there is.
app: shop.celery:app
seed: 7
start: 2026-03-01T09:30:00Z
broker: amqp://other//
backend: redis://other/1
rabbitmq: 3.13
redis: "7.0"
settings:
  task_acks_late: true
workers:
  w1:
  w2:
    concurrency: 4
    queues: [default, mail]
    settings: {worker_prefetch_multiplier: 1}
    start: 250ms
    options: {max_tasks_per_child: 2}
beat: false
calls:
  - task: shop.tasks.charge
    args: [7]
    kwargs: {note: quick}
    id: pay
    at: 1m
    countdown: 10s
    expires: 1h
    queue: payments
    priority: 3
    repeat: 2
    every: 500ms
faults:
  - kill: {worker: w1}
    when: {event: Started, nth: 2, task: shop.tasks.charge, worker: w1}
  - kill: {task: pay-1}
    at: 61
  - stop: {worker: w1, how: cold}
    at: 62
  - cut: {client: true}
    at: 63
  - freeze: w2
    at: 64
  - refuse: 30s
    at: 65
  - restart_broker:
    at: 66
until: 2h
expect:
  - task: pay-1
    state: SUCCESS
    starts: 2
    attempts: [w1, w2]
    start_times: [1m, 61.5]
    result: paid
  - event: Acked
    queue: payments
    count: 2
  - queue: payments
    ready: 0
    unacked: 0
  - value: shop.gateway.charges
    equals: [7, 7]
"""


def test_a_whole_scenario_is_read_with_all_its_parts():
    scenario = loads(WHOLE, "whole.yaml")
    assert (scenario.title, scenario.app, scenario.seed) == ("A story", "shop.celery:app", 7)
    assert scenario.start == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert (scenario.broker, scenario.backend) == ("amqp://other//", "redis://other/1")
    assert (scenario.rabbitmq, scenario.redis) == ("3.13", "7.0")
    assert scenario.settings == {"task_acks_late": True}
    assert scenario.until == 7200
    assert scenario.line_of("settings") == 11
    assert scenario.workers == (
        Worker("w1", line=14),
        Worker(
            "w2",
            concurrency=4,
            queues=("default", "mail"),
            settings={"worker_prefetch_multiplier": 1},
            start=0.25,
            options={"max_tasks_per_child": 2},
            line=15,
        ),
    )


def test_a_repeated_call_has_its_times_and_ids():
    (call,) = loads(WHOLE).calls
    assert call == Call(
        "shop.tasks.charge",
        args=(7,),
        kwargs={"note": "quick"},
        id="pay",
        at=60,
        countdown=10,
        expires=3600,
        queue="payments",
        priority=3,
        repeat=2,
        every=0.5,
        line=23,
    )
    assert call.times == (60, 60.5)
    assert call.ids == ("pay-1", "pay-2")


def test_faults_become_methods_with_arguments():
    started = Pattern("Started", 2, {"task": "shop.tasks.charge", "worker": "w1"})
    assert loads(WHOLE).faults == (
        Fault("kill", {"worker": "w1"}, when=started, line=35),
        Fault("kill", {"task": "pay-1"}, at=61, line=37),
        Fault("stop", {"worker": "w1", "how": "cold"}, at=62, line=39),
        Fault("cut", {"client": True}, at=63, line=41),
        Fault("freeze", {"worker": "w2"}, at=64, line=43),
        Fault("refuse", {"seconds": 30}, at=65, line=45),
        Fault("restart_broker", {}, at=66, line=47),
    )


SERVER_FAULTS = """\
version: 1
app: shop.celery:app
redis_config: {appendonly: "yes", maxmemory: 2mb}
faults:
  - {accept: , at: 1}
  - {alarm: 10s, at: 2}
  - {alarm: {reason: low on disk, server: rabbitmq}, at: 3}
  - {clear_alarm: true, at: 4}
  - {evict: 3, at: 5}
  - {evict: {keys: 2, policy: allkeys-lru, server: backend}, at: 6}
  - {slow: 500ms, at: 7}
  - {slow: {delay: 1, seconds: 1m}, at: 8}
  - {restart_broker: {down: 5, how: kill, lost: 300ms}, at: 9}
  - {stop_replication: {server: redis}, at: 10}
  - {failover: {lost: 2s, down: 3s, back: 1m}, at: 11}
  - {failover: , at: 12}
"""


def test_faults_of_servers_take_nothing_an_amount_or_a_mapping():
    scenario = loads(SERVER_FAULTS)
    assert scenario.redis_config == {"appendonly": "yes", "maxmemory": "2mb"}
    assert [(fault.kind, fault.options) for fault in scenario.faults] == [
        ("accept", {}), ("alarm", {"seconds": 10}), ("alarm", {"reason": "low on disk", "server": "rabbitmq"}),
        ("clear_alarm", {}), ("evict", {"keys": 3}),
        ("evict", {"keys": 2, "policy": "allkeys-lru", "server": "backend"}), ("slow", {"delay": 0.5}),
        ("slow", {"delay": 1, "seconds": 60}), ("restart_broker", {"down": 5, "how": "kill", "lost": 0.3}),
        ("stop_replication", {"server": "redis"}), ("failover", {"lost": 2, "down": 3, "back": 60}), ("failover", {}),
    ]  # fmt: skip


def test_expectations_are_told_apart_by_their_key():
    assert loads(WHOLE).expect == (
        TaskExpectation("pay-1", "SUCCESS", 2, ("w1", "w2"), (60, 61.5), "paid", has_result=True, line=51),
        EventExpectation("Acked", {"queue": "payments"}, 2, line=57),
        QueueExpectation("payments", 0, 0, line=60),
        ValueExpectation("shop.gateway.charges", [7, 7], line=63),
    )


@pytest.mark.parametrize(
    ("written", "names"),
    [("2", ["w1", "w2"]), ("0", []), ("[a, b]", ["a", "b"]), ("{a: , b: {concurrency: 1}}", ["a", "b"])],
)
def test_workers_are_a_number_a_list_or_a_mapping(written, names):
    scenario = loads(f"version: 1\napp: a:b\nworkers: {written}")
    assert [worker.name for worker in scenario.workers] == names


def test_an_event_may_be_expected_by_a_field_that_is_a_kind_of_expectation_too():
    expected = loads(HEAD + "expect: [{event: Started, task: add, count: 1}, {queue: q, event: Acked}]").expect
    assert expected == (
        EventExpectation("Started", {"task": "add"}, 1, line=3),
        EventExpectation("Acked", {"queue": "q"}, line=3),
    )


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "story.yaml"
    path.write_text(HEAD, encoding="utf-8-sig")
    assert load(path).app == "shop.celery:app"


BEGINNINGS = {
    "plain": ("version: 1\napp: a:b", True),
    "byte order mark": ("\ufeffversion: 1", True),
    "comments": ("# one\n\n# two\nversion: 1", True),
    "directive": ("%YAML 1.1\n---\nversion: 1", True),
    "document": ("---   # a story\nversion: 1", True),
    "quotes": ('"version": 1', True),
    "single quotes": ("'version' : 1", True),
    "json": ('{"version": 1, "app": "a:b"}', True),
    "another key": ("app: a:b\nversion: 1", False),
    "longer key": ("versions: 1", False),
    "list": ("- version: 1", False),
    "text": ("version", False),
    "a key that is a mapping": ("? {version: 1}\n: 1", False),
    "nothing": ("", False),
    "no YAML": ("[", False),
    "broken further below": ("version: 1\n\tapp", True),
}


@pytest.mark.parametrize(("source", "is_one"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_file_begins_as_a_scenario_if_its_first_key_is_the_version(tmp_path, source, is_one):
    path = tmp_path / "story.yaml"
    path.write_text(source, encoding="utf-8")
    assert begins_as_scenario(path) is is_one


def test_a_file_in_another_encoding_may_begin_as_a_scenario(tmp_path):
    path = tmp_path / "story.yaml"
    path.write_bytes("version: 1\ntitle: Grüße".encode("latin-1"))
    assert begins_as_scenario(path)
    assert not begins_as_scenario(tmp_path / "gone.yaml")


def test_an_anchor_may_be_used_and_overridden():
    scenario = loads(
        textwrap.dedent("""\
        version: 1
        app: a:b
        calls:
          - &pay {task: t, args: [1], queue: q}
          - *pay
          - {<<: *pay, args: [2]}
        """)
    )
    assert [(call.task, call.args, call.queue) for call in scenario.calls] == [
        ("t", (1,), "q"),
        ("t", (1,), "q"),
        ("t", (2,), "q"),
    ]


def test_an_expected_result_of_nothing_is_an_expectation():
    (expectation,) = loads("version: 1\napp: a:b\nexpect: [{task: t, result: null}]").expect
    assert expectation.has_result
    assert expectation.result is None


MISTAKES = {
    "empty": ("", None, "is empty"),
    "comment only": ("# nothing\n", None, "is empty"),
    "no mapping": ("- 1", 1, "the scenario must be a mapping that begins with `version: 1`, not a list"),
    "no version": ("app: a:b", 1, "the scenario needs `version: 1`"),
    "other version": ("app: a:b\nversion: 2", 2, "version 2 is not known; this release reads version 1"),
    "no app": ("version: 1", 1, "the scenario needs `app`"),
    "app without attribute": (
        "version: 1\napp: shop.celery",
        2,
        '`app` must be "package.module:attribute", not "shop.celery"',
    ),
    "bad yaml": (HEAD + "calls: [", 3, "is not YAML: while parsing a flow node expected the node content"),
    "a tab": (HEAD + "\tseed: 1", 3, "is not YAML: while scanning for the next token found character '\\t'"),
    "control character": ("version: 1\x07", None, "is not YAML: unacceptable character"),
    "python object": (HEAD + "title: !!python/name:os.system x", 3, "is not YAML: could not determine a construct"),
    "tagged mapping": (HEAD + "title: !!set {a}", 3, "the tag !!set"),
    "tagged list": (HEAD + "title: !local [a]", 3, "the tag !local"),
    "two documents": (HEAD + "---\nversion: 1", 3, "is not YAML: expected a single document in the stream"),
    "twice": (HEAD + "seed: 1\nseed: 2", 4, "`seed` is given twice, first in line 3"),
    "twice inside": (
        HEAD + "settings:\n  task_acks_late: 1\n  task_acks_late: 0",
        5,
        "`task_acks_late` is given twice, first in line 4",
    ),
    "itself": (HEAD + "settings: &a\n  x: *a", 3, "contains itself"),
    "impossible date": (
        HEAD + "start: 2026-13-40",
        3,
        "`start` is not YAML: `2026-13-40` is no timestamp (month must be in 1..12); if text is meant, put",
    ),
    "impossible date below": (
        HEAD + "calls:\n  - task: t\n    args: [1, 2026-13-40]",
        5,
        "item 2 of `args` is not YAML",
    ),
    "impossible truth": (HEAD + "title: !!bool x", 3, "`title` is not YAML: `x` is no bool; if text is meant"),
    "impossible key": (HEAD + "settings:\n  2026-13-40: 1", 4, "a key is not YAML: `2026-13-40` is no timestamp"),
    "version as text": (
        'version: "1"\napp: a:b',
        1,
        "`version` must be a number, not text: write `version: 1`, without quotes",
    ),
    "relative app": (
        HEAD.replace("shop.celery", ".celery"),
        2,
        '`app` must be "package.module:attribute", not ".celery',
    ),
    "list as key": (HEAD + "settings:\n  [1]: 2", 4, "a key must be text or a number"),
    "unknown key": (HEAD + "worker: 2", 3, "unknown key `worker` in the scenario; did you mean `workers`?"),
    "unknown key, nothing near": (HEAD + "xyz: 2", 3, "unknown key `xyz` in the scenario; there are: app, backend"),
    "two unknown keys": (
        HEAD + "worker: 2\nxpect: []",
        3,
        "did you mean `workers`?\nstory.yaml:4: unknown key `xpect` in the scenario; did you mean `expect`?",
    ),
    "unknown key in a call": (
        HEAD + "calls:\n  - task: t\n    arg: [1]",
        5,
        "unknown key `arg` in item 1 of `calls`; did you mean `args`?",
    ),
    "calls no list": (HEAD + "calls:\n  task: t", 3, "`calls` must be a list, not a mapping"),
    "call no mapping": (HEAD + "calls: [t]", 3, 'item 1 of `calls` must be a mapping with `task`, not "t"'),
    "call without task": (HEAD + "calls:\n  - args: [1]", 4, "item 1 of `calls` needs `task`"),
    "number for text": (HEAD + "calls:\n  - {task: t, id: 7}", 4, '`id` must be text, not 7; write "7" in quotes'),
    "list for text": (HEAD + "title: [a]", 3, "`title` must be text, not a list"),
    "empty text": (HEAD + "title: ''", 3, "`title` is empty"),
    "nothing for text": (HEAD + "title:", 3, "`title` must be text, not nothing"),
    "text for number": (HEAD + "seed: x", 3, '`seed` must be a whole number, not "x"'),
    "true for number": (HEAD + "seed: yes", 3, "`seed` must be a whole number, not yes"),
    "fraction for number": (HEAD + "seed: 1.5", 3, "`seed` must be a whole number, not 1.5"),
    "too small": (HEAD + "calls:\n  - {task: t, repeat: 0}", 4, "`repeat` must be 1 or more, not 0"),
    "number for flag": (HEAD + "beat: 1", 3, "`beat` must be true or false, not 1"),
    "bad duration": (HEAD + "until: 1h30m", 3, "`until` must be a duration (seconds, or a number with a unit: 250ms"),
    "minutes and seconds": (HEAD + "until: 1:30", 3, "`until` must be a duration"),
    "negative": (HEAD + "until: -1", 3, "`until` must be a duration"),
    "bad instant": (HEAD + "start: noon", 3, "`start` must be an ISO 8601 instant such as 2026-01-01T12:00:00Z"),
    "naive instant": (
        HEAD + "start: 2026-01-01 12:00:00",
        3,
        "`start` needs a time zone: 2026-01-01T12:00:00Z for UTC, or +02:00 at the end",
    ),
    "bad version of rabbitmq": (HEAD + "rabbitmq: [4]", 3, '`rabbitmq` must be a version such as "4.1", not a list'),
    "half a version of rabbitmq": (
        HEAD + "rabbitmq: 4",
        3,
        '`rabbitmq` must be a version such as "4.1", not 4; write both numbers, such as "4.0"',
    ),
    "no version of redis": (HEAD + "redis: new", 3, '`redis` must be a version such as "7.2", not "new"'),
    "no setting of redis": (
        HEAD + "redis_config:\n  appendonly: true\n  appendonl: true",
        5,
        "redis_config: 'appendonl' is not simulated; settings are",
    ),
    "no value of redis": (HEAD + "redis_config:\n  maxmemory: xx", 4, "redis_config: maxmemory='xx'"),
    "settings no mapping": (HEAD + "settings: [a]", 3, "`settings` must be a mapping, not a list"),
    "settings with number": (HEAD + "settings:\n  1: a", 4, "the keys of `settings` must be text, not 1"),
    "workers text": (HEAD + "workers: two", 3, "`workers` must be a number, a list of names, or a mapping of names"),
    "worker twice": (HEAD + "workers: [a, a]", 3, "worker `a` is given twice"),
    "worker option": (HEAD + "workers:\n  w1: {conc: 2}", 4, "unknown key `conc` in `w1`; there are: concurrency"),
    "worker's own key as option": (
        HEAD + "workers:\n  w1:\n    options:\n      conf: {}",
        6,
        "`conf` is not an option here; the keys of a worker are: concurrency, queues, settings, start, options",
    ),
    "every without repeat": (HEAD + "calls:\n  - task: t\n    every: 1s", 5, "`every` needs `repeat`"),
    "fault without kind": (HEAD + "faults:\n  - at: 1", 4, "item 1 of `faults` needs exactly one of: kill, stop, cut"),
    "two kinds": (
        HEAD + "faults:\n  - {kill: w1, freeze: w1, at: 1}",
        4,
        "item 1 of `faults` needs exactly one of: kill",
    ),
    "unknown fault": (
        HEAD + "faults:\n  - {kil: w1, at: 1}",
        4,
        "unknown key `kil` in item 1 of `faults`; did you mean",
    ),
    "fault without time": (HEAD + "faults:\n  - kill: w1", 4, "item 1 of `faults` needs `at` (seconds) or `when`"),
    "fault with both": (
        HEAD + "faults:\n  - {kill: w1, at: 1, when: {event: Acked}}",
        4,
        "item 1 of `faults` needs `at` (seconds) or `when` (an event), and not both",
    ),
    "fault without target": (HEAD + "faults:\n  - {kill: {}, at: 1}", 4, "`kill` needs a target: `worker` or `task`"),
    "fault with two targets": (
        HEAD + "faults:\n  - {kill: {worker: w1, task: t}, at: 1}",
        4,
        "`kill` needs a target: `worker` or `task`",
    ),
    "other worker": (
        HEAD + "workers: 2\nfaults:\n  - {kill: w3, at: 1}",
        5,
        "`kill` hits nobody: there is no worker `w3`; there are: w1, w2",
    ),
    "bad how": (
        HEAD + "faults:\n  - {stop: {worker: w1, how: hot}, at: 1}",
        4,
        "`how` cannot be `hot`; there are: cold",
    ),
    "unknown event": (
        HEAD + "faults:\n  - kill: w1\n    when: {event: Start}",
        5,
        "there is no event `Start`; did you mean `Started`?",
    ),
    "unknown field": (
        HEAD + "faults:\n  - kill: w1\n    when: {event: Started, tsk: t}",
        5,
        "`Started` has no field `tsk`; did you mean `task`?",
    ),
    "when without event": (HEAD + "faults:\n  - {kill: w1, when: {nth: 2}}", 4, "`when` needs `event`"),
    "nth zero": (HEAD + "faults:\n  - {kill: w1, when: {event: Acked, nth: 0}}", 4, "`nth` must be 1 or more, not 0"),
    "expectation of nothing": (
        HEAD + "expect:\n  - state: SUCCESS",
        4,
        "item 1 of `expect` needs one of: `event`, `task`, `queue`, `value`",
    ),
    "task without more": (
        HEAD + "expect:\n  - task: t",
        4,
        "item 1 of `expect` says nothing of the task; there are: st",
    ),
    "queue without number": (HEAD + "expect:\n  - queue: q", 4, "item 1 of `expect` needs `ready` or `unacked`"),
    "value without equals": (HEAD + "expect:\n  - value: a.b", 4, "item 1 of `expect` needs `equals`"),
    "value without dot": (
        HEAD + "expect:\n  - {value: a, equals: 1}",
        4,
        "`value` must be a dotted name (module.attribute), not `a`",
    ),
    "value with an empty part": (
        HEAD + "expect:\n  - {value: .a, equals: 1}",
        4,
        "`value` must be a dotted name (module.attribute), not `.a`",
    ),
    "beat without end": (HEAD + "beat: true", 3, "with `beat` the scenario needs `until`"),
    "call after the end": (
        HEAD + "until: 10\ncalls:\n  - {task: t, repeat: 12, every: 1}",
        5,
        "happens at 11 s, after `until` (10 s)",
    ),
    "fault after the end": (HEAD + "until: 10\nfaults:\n  - {kill: w1, at: 11}", 5, "happens at 11 s, after `until`"),
    "setup without a module": (
        HEAD + "setup: [reset]",
        3,
        "item 1 of `setup` must be a dotted name (module.function), not `reset`",
    ),
    "relative setup": (
        HEAD + 'setup: [".x"]',
        3,
        "item 1 of `setup` must be a dotted name (module.function), not `.x`",
    ),
    "setup without a call": (HEAD + "setup:\n  - args: [1]", 4, "item 1 of `setup` needs `call`"),
    "slow without a delay": (HEAD + "faults:\n  - {slow: {seconds: 1}, at: 1}", 4, "`slow` needs `delay`"),
    "an end that there is not": (
        HEAD + "faults:\n  - {restart_broker: {how: gently}, at: 1}",
        4,
        "`how` cannot be `gently`",
    ),
    "an amount of nothing": (HEAD + "faults:\n  - {accept: 3, at: 1}", 4, "must be nothing, or a mapping"),
    "thaw without a target": (
        HEAD + "faults:\n  - {thaw: {}, at: 1}",
        4,
        "`thaw` needs a target: `worker` or `client`",
    ),
    "no such check": (
        HEAD + "expect:\n  - check: nothing_lst",
        4,
        "there is no check `nothing_lst`; did you mean `nothing_lost`?",
    ),
    "all checks and another": (
        HEAD + "expect:\n  - check: [all, nothing_lost]",
        4,
        "`all` stands alone, for it means every check; write `check: all`",
    ),
    "none of the checks": (HEAD + "expect:\n  - check: []", 4, "`check` names none; write `check: all`, or some of: "),
    "no such incident": (
        HEAD + "expect:\n  - {check: all, incident: I999}",
        4,
        "`incident` cannot be `I999`",
    ),
    "id twice": (
        HEAD + "calls:\n  - {task: t, id: a-2}\n  - {task: t, id: a, repeat: 2}",
        5,
        "the id `a-2` is taken by the call in line 4",
    ),
}


@pytest.mark.parametrize(("source", "line", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line(source, line, message):
    with pytest.raises(ScenarioError) as caught:
        loads(source, "story.yaml")
    assert message in caught.value.message
    assert caught.value.line == line
    assert str(caught.value).startswith("story.yaml:" if line is None else f"story.yaml:{line}: ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "gone.yaml"
    with pytest.raises(ScenarioError, match=r"gone\.yaml: cannot be read: No such file"):
        load(path)


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("title: Grüße".encode("latin-1"))
    with pytest.raises(ScenarioError, match="is not UTF-8 text"):
        load(path)
