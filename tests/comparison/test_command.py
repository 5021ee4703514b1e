"""`tasksim compare-eager`: what it prints and how it exits."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tasksim.cli import main

MODULE = """
from celery import Celery

app = Celery("ordered", broker="amqp://", backend="redis://", set_as_current=False)

@app.task(name="pair", shared=False)
def pair(number):
    return (number, number)

def hides():
    pair.delay(1)

def hides_nothing():
    pass
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ordered_eagerly.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)


def tasksim(function: str, app: str = "ordered_eagerly:app") -> Result:
    return CliRunner().invoke(main, ["compare-eager", function, "--app", app])


def test_what_is_found_is_printed_and_fails() -> None:
    done = tasksim("ordered_eagerly:hides")
    assert done.exit_code == 1
    first, last = done.output.splitlines()
    assert first.startswith("serialization: pair(1): the result is the tuple (1, 1) in eager mode")
    assert last == "FAILED  ordered_eagerly:hides: 1 thing hidden by eager mode"


def test_where_nothing_is_hidden_it_says_so() -> None:
    done = tasksim("ordered_eagerly:hides_nothing")
    assert (done.exit_code, done.output) == (0, "OK      ordered_eagerly:hides_nothing: nothing hidden\n")


@pytest.mark.parametrize("function", ["ordered_eagerly", "ordered_eagerly:nothing", "no_such_module:main"])
def test_a_function_that_is_not_there_is_an_error(function: str) -> None:
    done = tasksim(function)
    assert done.exit_code == 2
    assert 'write "package.module:function"' in done.output


def test_an_app_that_is_not_there_is_an_error() -> None:
    assert tasksim("ordered_eagerly:hides", app="ordered_eagerly:nobody").exit_code == 2
