"""The published JSON Schema says of a file what the loader says."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tasksim.errors import ScenarioError
from tasksim.scenario import loads, run_scenario
from tests.scenario.test_load import SERVER_FAULTS, WHOLE

ROOT = Path(__file__).parents[2]
HEAD = "version: 1\napp: shop.celery:app\n"


class Yaml(yaml.SafeLoader):
    """As editors read YAML: a moment is text."""


Yaml.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

SCHEMA = json.loads((ROOT / "docs" / "reference" / "scenario.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenario_schema", ROOT / "scripts" / "scenario_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problems(source: str) -> list[Any]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.load(source, Loader=Yaml))]


def test_the_published_schema_is_what_the_loader_reads() -> None:
    assert json.dumps(SCHEMA, indent=2) + "\n" == script().text(), "run: python scripts/scenario_schema.py"


def test_the_schema_knows_the_faults_of_servers() -> None:
    assert problems(SERVER_FAULTS) == []
    assert problems(SERVER_FAULTS.replace("evict: 3", "evict: 0"))
    assert problems(SERVER_FAULTS.replace("slow: 500ms", "slow: "))


def test_the_scenario_in_the_guide_holds() -> None:
    page = (ROOT / "docs" / "how-to" / "scenarios.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.+?)```", page, re.S)
    outcome = run_scenario(loads(block, str(ROOT / "scenarios" / "guide.yaml")))
    assert outcome.ok, outcome.lines
    assert problems(block) == []


def test_the_index_of_scenarios_is_whole() -> None:
    folder = ROOT / "scenarios"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\w+\.yaml)\)", index) != []
    assert sorted(re.findall(r"\]\((\w+\.yaml)\)", index)) == sorted(path.name for path in folder.glob("*.yaml"))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


GOOD = [
    WHOLE,
    HEAD,
    HEAD + "workers: 2",
    HEAD + "workers: 0",
    HEAD + "workers: [w1, w2]",
    HEAD + "setup: [shop.reset, {call: shop.gateway.decline, args: [7]}]",
    HEAD + "faults:\n  - {thaw: w1, at: 1}\n  - {refuse: , at: 1}\n  - {refuse: {seconds: 5s}, at: 1}",
    HEAD + "expect:\n  - check: all\n  - {check: [nothing_lost, nothing_twice], incident: I6}",
]
BAD = [
    "app: shop.celery:app",
    "version: 2\napp: shop.celery:app",
    "version: 1\napp: shop",
    HEAD + "nonsense: 1",
    HEAD + "seed: soon",
    HEAD + "until: later",
    HEAD + "workers: many",
    HEAD + "workers: {w1: {concurency: 2}}",
    HEAD + "beat: sometimes",
    HEAD + "setup: [reset]",
    HEAD + "setup: [{args: [1]}]",
    HEAD + "calls: [{args: [1]}]",
    HEAD + "calls: [{task: a, every: 1s}]",
    HEAD + "calls: [{task: a, repeat: 0}]",
    HEAD + "faults: [{kill: w1}]",
    HEAD + "faults: [{at: 1}]",
    HEAD + "faults: [{kill: w1, cut: w1, at: 1}]",
    HEAD + "faults: [{kill: w1, at: 1, when: {event: Started}}]",
    HEAD + "faults: [{kill: {worker: w1, task: a}, at: 1}]",
    HEAD + "faults: [{stop: {worker: w1, how: gently}, at: 1}]",
    HEAD + "faults: [{kill: w1, when: {event: Begun}}]",
    HEAD + "expect: [{task: a}]",
    HEAD + "expect: [{queue: a}]",
    HEAD + "expect: [{value: a, equals: 1}]",
    HEAD + "expect: [{event: Acked, often: 1}]",
    HEAD + "expect: [{check: nothing}]",
    HEAD + "expect: [{check: nothing_lost, incident: I999}]",
    HEAD + "expect: [{}]",
]


@pytest.mark.parametrize("source", GOOD)
def test_what_the_loader_takes_is_valid(source: str) -> None:
    loads(source)
    assert problems(source) == []


@pytest.mark.parametrize("source", BAD)
def test_what_the_loader_refuses_is_not(source: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        loads(source, "story.yaml")
    assert str(refused.value).startswith("story.yaml")
    assert problems(source)
