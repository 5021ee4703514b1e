"""The same test on several brokers: lists in the marker's options, and the rules that a test assumes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasksim.simulation import Simulation

#: Options of the marker that may be a list, each value a test of its own; and an example.
SEVERAL = {"broker": '["amqp://", "redis://"]', "rabbitmq": '["3.13", "4.1"]', "redis": '["6.2", "7.2"]'}
#: The hidden parameter.
PARAMETER = "_tasksim_broker"

UNITTEST = (
    "{name}=[...]: a method of unittest.TestCase cannot be run several times by pytest. "
    "Write a plain function or class, or give one value"
)
NOT_IN_THE_FIXTURE = (
    "{name}=[...] in the fixture `tasksim_options`: give one value; several stand in the marker `tasksim`"
)
NEVER = (
    "this test assumes {assumed}, and its broker follows the rules of {rules}, so it would never run. "
    'Name the broker in the marker (broker="{url}"), or several of which those that fit are run'
)


def _options(definition: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mark in reversed(list(definition.iter_markers("tasksim"))):
        merged.update(mark.kwargs)
    return merged


def _is_several(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _server(broker: object) -> str:
    """Whose version matters at this URL; "" if it is the app's own, which is not known yet."""
    if broker is None:
        return ""
    return "redis" if str(broker).split(":")[0].startswith(("redis", "sentinel")) else "rabbitmq"


def combinations(options: dict[str, Any]) -> list[dict[str, str]]:
    """One set of options for each test: each broker, and each version of those that it can have.

    Raises:
        ValueError: a list that makes no sense, and what would.
    """
    several = {name: list(options[name]) for name in SEVERAL if _is_several(options.get(name))}
    for name, values in several.items():
        if not values or not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"{name}={options[name]!r}: write a list of text, such as {SEVERAL[name]}")
        if len(set(values)) < len(values):
            raise ValueError(f"{name}={options[name]!r}: a value stands there twice")
    found: list[dict[str, str]] = []
    for broker in several.pop("broker", [options.get("broker")]):
        server = _server(broker)
        versions = {name: values for name, values in several.items() if server in ("", name)}
        if broker is not None and not versions and several and not _is_several(options.get("broker")):
            raise ValueError(f"{next(iter(several))}=[...]: the broker {broker!r} is of another kind")
        for chosen_versions in product(*versions.values()):
            one = {} if broker is None else {"broker": broker}
            found.append({**one, **dict(zip(versions, chosen_versions, strict=True))})
    return found


def name_of(one: dict[str, str]) -> str:
    """What stands in the test's id: "amqp", "redis-7.2". Nothing of a URL but its scheme, which has no password."""
    words = [one["broker"].partition(":")[0]] if "broker" in one else []
    for server in ("rabbitmq", "redis"):
        if server in one:
            words += [one[server]] if words else [server, one[server]]
    return "-".join(words)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """A test for each of several brokers that the marker names."""
    options = _options(metafunc.definition)
    if not any(_is_several(options.get(name)) for name in SEVERAL):
        return
    try:
        found = combinations(options)
    except ValueError as error:
        pytest.fail(f"{metafunc.definition.nodeid}: the marker `tasksim`: {error}", pytrace=False)
    if PARAMETER not in metafunc.fixturenames:
        metafunc.fixturenames.append(PARAMETER)
    metafunc.parametrize(PARAMETER, found, indirect=True, ids=[name_of(one) for one in found])


def is_one_of_several(item: pytest.Item) -> bool:
    """Has the marker made several tests, and is this one of them?"""
    return PARAMETER in getattr(getattr(item, "callspec", None), "params", {})


def choose(item: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options of this test, one of several."""
    if not is_one_of_several(item):
        return options
    single = {name: value for name, value in options.items() if name not in SEVERAL or not _is_several(value)}
    return {**single, **item.callspec.params[PARAMETER]}


def check(options: dict[str, Any], *, in_fixture: bool) -> str:
    """What is wrong with options that should have one value each by now; "" if nothing is."""
    for name in SEVERAL:
        if _is_several(options.get(name)):
            return (NOT_IN_THE_FIXTURE if in_fixture else UNITTEST).format(name=name)
    return ""


def assume(simulation: Simulation, assumed: Any, *, of_several: bool) -> str:
    """Skip a test, one of several, whose broker has other rules than the test assumes.

    Returns:
        What is wrong where there is but one; "" if nothing is.
    """
    rules = simulation.rules
    if rules.are(assumed):
        return ""
    words = assumed if isinstance(assumed, str) else " or ".join(assumed)
    if of_several:
        pytest.skip(f"assumes {words}, and the broker follows the rules of {rules}")
    url = "redis://" if words.startswith("redis") else "amqp://"
    return NEVER.format(assumed=words, rules=rules, url=url)
