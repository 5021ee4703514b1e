"""From a YAML file to a `Scenario`. The one place that imports yaml.

YAML is read safely (no Python objects), keys given twice are refused, and each value keeps its line for messages.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tasksim.errors import ScenarioError
from tasksim.scenario.node import Node
from tasksim.scenario.read import read_scenario
from tasksim.scenario.schema import Scenario

__all__ = ["begins_as_scenario", "load", "loads"]

_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def load(path: str | os.PathLike[str]) -> Scenario:
    """Read a scenario file; `ScenarioError` says what is wrong with it and in which line."""
    file = os.fspath(path)
    try:
        source = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror}", file) from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"is not UTF-8 text: {error.reason} at byte {error.start}", file) from None
    return loads(source, file)


def loads(source: str, file: str = "<scenario>") -> Scenario:
    """Read a scenario from text; `file` is the name for messages."""
    return replace(read_scenario(_parse(source, file)), sha256=sha256(source.encode("utf-8")).hexdigest())


def begins_as_scenario(path: str | os.PathLike[str]) -> bool:
    """Whether the first key of a YAML file is `version`; no more of it is read than that.

    The parser of `load` says so: comments, directives, quotes and a byte order mark mean here what they mean there.
    """
    first = (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.MappingStartEvent, yaml.ScalarEvent)
    try:
        # What is not UTF-8 is a scenario all the same, and `load` says what is wrong with it.
        source = Path(path).read_text(encoding="utf-8", errors="replace")
        found: list[Any] = list(islice(yaml.parse(source, Loader=yaml.SafeLoader), len(first)))
    except (OSError, yaml.YAMLError, ValueError):
        return False
    kinds = [isinstance(event, kind) for event, kind in zip(found, first, strict=False)]
    return len(found) == len(first) and all(kinds) and found[-1].value == "version"


def _parse(source: str, file: str) -> Node:
    try:
        loader = yaml.SafeLoader(source)
        root = loader.get_single_node()
        if root is None:
            raise ScenarioError("is empty", file)
        return _Tree(loader, file).node(root, "the scenario")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise ScenarioError(f"is not YAML: {problem}", file, mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ScenarioError(f"is not YAML: {error}", file) from None


class _Tree:
    """Turns YAML nodes into ours, each once, however many aliases point to it."""

    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self._loader, self._file = loader, file
        self._made: dict[int, Node | None] = {}

    def node(self, raw: yaml.Node, name: str) -> Node:
        """The node for `raw`; `name` is what messages call it."""
        line = raw.start_mark.line + 1
        if id(raw) not in self._made:
            self._made[id(raw)] = None
            value, source = self._value(raw, name)
            self._made[id(raw)] = Node(value, line, self._file, name, source)
        made = self._made[id(raw)]
        if made is None:
            raise ScenarioError(f"{name} contains itself", self._file, line)
        return replace(made, name=name)

    def _value(self, raw: yaml.Node, name: str) -> tuple[Any, str]:
        if isinstance(raw, yaml.CollectionNode) and raw.tag not in _PLAIN_TAGS:
            tag = raw.tag.replace("tag:yaml.org,2002:", "!!")
            raise ScenarioError(f"the tag {tag} means nothing here", self._file, raw.start_mark.line + 1)
        if isinstance(raw, yaml.MappingNode):
            return self._mapping(raw), ""
        if isinstance(raw, yaml.SequenceNode):
            return [self.node(item, f"item {place} of {name}") for place, item in enumerate(raw.value, 1)], ""
        return self._scalar(raw, name), str(raw.value)

    def _scalar(self, raw: yaml.Node, name: str) -> Any:
        try:
            return self._loader.construct_object(raw)
        except yaml.YAMLError:
            raise
        except Exception as error:  # yaml's own: a date or number is converted by Python, which says what it likes
            kind = raw.tag.rpartition(":")[2]
            why = f" ({error})" if isinstance(error, ValueError) else ""
            message = f"{name} is not YAML: `{raw.value}` is no {kind}{why}; if text is meant, put it in quotes"
            raise ScenarioError(message, self._file, raw.start_mark.line + 1) from None

    def _mapping(self, raw: yaml.MappingNode) -> dict[Hashable, Node]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in raw.value:
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in seen:
                raise ScenarioError(f"`{key}` is given twice, first in line {seen[key]}", self._file, line)
            seen[key] = line
        self._loader.flatten_mapping(raw)
        made = {}
        for key_node, value in raw.value:
            key = self._key(key_node)
            made[key] = replace(self.node(value, f"`{key}`"), line=key_node.start_mark.line + 1)
        return made

    def _key(self, raw: yaml.Node) -> Hashable:
        if not isinstance(raw, yaml.ScalarNode):
            raise ScenarioError("a key must be text or a number", self._file, raw.start_mark.line + 1)
        if raw.tag == "tag:yaml.org,2002:merge":
            return "<<"
        key: Hashable = self._scalar(raw, "a key")
        return key
