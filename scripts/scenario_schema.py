"""Write docs/reference/scenario.schema.json, the JSON Schema of scenario files, from what the loader reads.

python scripts/scenario_schema.py            write it
python scripts/scenario_schema.py --print    print it

The keys are those of `tasksim.scenario.read`; what each may hold is said here. A key that is not said here is an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tasksim.check import CHECKS, INCIDENTS
from tasksim.driving.server_faults import ENDS
from tasksim.events import FIELDS
from tasksim.network.redis_config import POLICIES
from tasksim.scenario import expectations, read
from tasksim.scenario.schema import VERSION

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "scenario.schema.json"

Json = dict[str, Any]
TEXT: Json = {"type": "string", "minLength": 1}
ANY: Json = {}
FLAG: Json = {"type": "boolean"}
OBJECT: Json = {"type": "object"}
ANY_LIST: Json = {"type": "array"}
DURATION: Json = {"$ref": "#/$defs/duration"}
VERSION_TEXT: Json = {"type": ["string", "number"]}


def whole(minimum: int | None = 0) -> Json:
    return {"type": "integer"} if minimum is None else {"type": "integer", "minimum": minimum}


def record(keys: Iterable[str], said: Mapping[str, Json], required: list[str] | None = None) -> Json:
    """An object with exactly the loader's keys."""
    found: Json = {"type": "object", "additionalProperties": False, "properties": {key: said[key] for key in keys}}
    return found | ({"required": required} if required else {})


WORKER: dict[str, Json] = {
    "concurrency": whole(1),
    "queues": {"oneOf": [TEXT, {"type": "array", "items": TEXT}]},
    "settings": OBJECT,
    "start": DURATION,
    "options": OBJECT,
}
CALL: dict[str, Json] = {
    "task": TEXT,
    "args": ANY_LIST,
    "kwargs": OBJECT,
    "id": TEXT,
    "at": DURATION,
    "countdown": DURATION,
    "expires": DURATION,
    "queue": TEXT,
    "priority": whole(),
    "repeat": whole(1),
    "every": DURATION,
}
SETUP: dict[str, Json] = {"call": {"type": "string", "pattern": r"\."}, "args": ANY_LIST, "kwargs": OBJECT}


def target(*keys: str, **options: Json) -> Json:
    """The name of a worker, or a mapping with one of these keys."""
    said = {"worker": TEXT, "task": TEXT, "client": FLAG}
    choices = [
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {key: said[key], **options},
            "required": [key],
        }
        for key in keys
    ]
    return {"oneOf": [TEXT, *choices]}


def amount(key: str | None, said: Json | None = None, *, required: bool = False, **others: Json) -> Json:
    """Nothing, an amount, or a mapping with the amount and more; without a key no amount."""
    said = DURATION if said is None else said
    keys = {**({} if key is None else {key: said}), **others, "server": TEXT}
    mapping: Json = {"type": "object", "additionalProperties": False, "properties": keys}
    if required:
        return {"anyOf": [said, {**mapping, "required": [key]}]}
    return {"anyOf": [{"type": "null"}, {"const": True}, *([] if key is None else [said]), mapping]}


FAULT: dict[str, Json] = {
    "kill": target("worker", "task"),
    "stop": target("worker", how={"enum": ["warm", "cold"]}),
    "cut": target("worker", "client"),
    "freeze": target("worker", "client"),
    "thaw": target("worker", "client"),
    "refuse": amount("seconds"),
    "accept": amount(None),
    "alarm": amount("seconds", reason=TEXT),
    "clear_alarm": amount(None),
    "evict": amount("keys", whole(1), policy={"enum": [*POLICIES]}),
    "slow": amount("delay", required=True, seconds=DURATION),
    "restart_broker": amount("down", how={"enum": [*ENDS]}, lost=DURATION),
    "stop_replication": amount(None),
    "failover": amount("lost", down=DURATION, back=DURATION),
}


def event(**others: Json) -> Json:
    """The name of an event and conditions on its fields."""
    properties: Json = {"event": {"enum": [*FIELDS]}, "worker": ANY, **others}
    known = sorted({field for fields in FIELDS.values() for field in fields})
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**dict.fromkeys(known, ANY), **properties},
        "required": ["event"],
    }


def faults() -> Json:
    """One fault: one kind, and either `at` or `when`."""
    said = {**FAULT, "at": DURATION, "when": event(nth=whole(1))}
    kinds = [{"required": [kind]} for kind in read.FAULTS]
    moments = [{"required": ["at"]}, {"required": ["when"]}]
    return {**record([*read.FAULTS, "at", "when"], said), "allOf": [{"oneOf": kinds}, {"oneOf": moments}]}


TASK: dict[str, Json] = {
    "task": TEXT,
    "state": TEXT,
    "starts": whole(),
    "attempts": {"type": "array", "items": TEXT},
    "start_times": {"type": "array", "items": DURATION},
    "result": ANY,
}
CHECK: Json = {"enum": [*CHECKS]}
EXPECT: dict[str, Json] = {
    "task": {**record(expectations.TASK_EXPECTATION, TASK, ["task"]), "minProperties": 2},
    "event": event(count=whole()),
    "queue": {
        **record(["queue", "ready", "unacked"], {"queue": TEXT, "ready": whole(), "unacked": whole()}, ["queue"]),
        "minProperties": 2,
    },
    "value": record(
        ["value", "equals"],
        {"value": {"type": "string", "pattern": r"\."}, "equals": ANY},
        ["value", "equals"],
    ),
    "check": record(
        ["check", "incident"],
        {
            "check": {"oneOf": [{"enum": ["all", *CHECKS]}, {"type": "array", "items": CHECK, "minItems": 1}]},
            "incident": {"enum": [*INCIDENTS]},
        },
        ["check"],
    ),
}
SCENARIO: dict[str, Json] = {
    "version": {"const": VERSION},
    "title": TEXT,
    "description": TEXT,
    "app": {"type": "string", "pattern": "^[^:]+:.+$", "description": "package.module:attribute"},
    "seed": whole(None),
    "start": {"type": "string", "description": "ISO 8601 with a time zone"},
    "broker": TEXT,
    "backend": TEXT,
    "rabbitmq": VERSION_TEXT,
    "redis": VERSION_TEXT,
    "redis_config": OBJECT,
    "settings": OBJECT,
    "workers": {
        "oneOf": [
            whole(),
            {"type": "array", "items": TEXT, "uniqueItems": True},
            {
                "type": "object",
                "additionalProperties": {"oneOf": [{"type": "null"}, record(read.WORKER, WORKER)]},
            },
        ]
    },
    "beat": FLAG,
    "setup": {"type": "array", "items": {"oneOf": [SETUP["call"], record(read.SETUP, SETUP, ["call"])]}},
    "calls": {
        "type": "array",
        "items": {**record(read.CALL, CALL, ["task"]), "dependentRequired": {"every": ["repeat"]}},
    },
    "faults": {"type": "array", "items": faults()},
    "until": DURATION,
    "expect": {"type": "array", "items": {"oneOf": [EXPECT[key] for key in expectations.EXPECTATIONS]}},
}


def schema() -> Json:
    """The whole of it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"tasksim scenario, version {VERSION}",
        **record(read.SCENARIO, SCENARIO, ["version", "app"]),
        "$defs": {
            "duration": {
                "description": "seconds, or text with a unit: 250ms, 10s, 5m, 1h",
                "oneOf": [
                    {"type": "number", "minimum": 0},
                    {"type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(ms|s|m|h)?\s*$"},
                ],
            }
        },
    }


def text() -> str:
    """As it stands in the file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(text())
    else:
        FILE.write_text(text(), encoding="utf-8")
