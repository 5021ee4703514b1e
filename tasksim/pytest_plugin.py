"""The pytest plugin: the fixture `sim`, the marker `tasksim`, the seed.

pytest loads this module at each start, so it imports nothing but pytest; the engine comes with the first `sim`.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasksim import pytest_brokers, pytest_dropin, pytest_failure, pytest_scenarios

if TYPE_CHECKING:
    from tasksim.dropin import DropIn
    from tasksim.simulation import Simulation

__all__ = ["sim", "tasksim_app", "tasksim_dropin", "tasksim_options"]

MARKER = (
    "tasksim(app=None, **options): run the test in a simulated task system; asks for the fixture `sim` by itself. "
    "`options` are the keyword arguments of tasksim.Simulation: workers, concurrency, seed, start, queues, broker, "
    "backend, rabbitmq, redis, beat, allow, cells, limits, settings, mode, memory, "
    "redis_config. Markers of class and module are merged, "
    "the closest wins. broker, rabbitmq and redis may be lists: a test for each; assumes=RULES names the rules "
    '("redis", "rabbitmq>=4") without which the test makes no sense.'
)

NO_APP = (
    "the fixture `sim` needs a Celery app. Name it in the ini file (tasksim_app = package.module:attribute), "
    "in the marker (@pytest.mark.tasksim(app=...)), or override the fixture `tasksim_app`."
)

NO_DROPIN = "the fixture `tasksim_dropin` needs the drop-in. Switch it on in the ini file: tasksim_dropin = true"

#: The seed of a session and where it is from.
_seed = pytest.StashKey[tuple[int, str]]()
#: What is told in whole where a test expects none.
_TOLD = {("tasksim", "Hidden"), ("tasksim", "Finding")}
#: The drop-in's name among the plugins.
_DROPIN = "tasksim-dropin"


# --- options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tasksim", "simulated Celery")
    group.addoption(
        "--tasksim-seed",
        type=int,
        metavar="N",
        help="seed of the simulations that do not set one (default: TASKSIM_SEED, then tasksim_seed, then 0)",
    )
    parser.addini("tasksim_app", 'the Celery app of the fixture `sim`: "package.module:attribute"', default="")
    parser.addini("tasksim_seed", "seed of the simulations that do not set one", default="")
    pytest_failure.add_options(parser, group)
    pytest_scenarios.add_options(parser)
    pytest_dropin.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    pytest_scenarios.check_folders(config)
    config.stash[_seed] = seed, _ = _find_seed(config)
    if config.getini("tasksim_dropin"):
        config.pluginmanager.register(pytest_dropin.DropInSession(config, seed, _note_dropin), _DROPIN)


def _note_dropin(item: pytest.Item, world: DropIn) -> None:
    pytest_failure.remember(item, world, item.config._tmp_path_factory)  # type: ignore[attr-defined]


def _find_seed(config: pytest.Config) -> tuple[int, str]:
    option = config.getoption("--tasksim-seed")
    if option is not None:
        return option, "--tasksim-seed"
    for text, source in (
        (os.environ.get("TASKSIM_SEED", ""), "TASKSIM_SEED"),
        (config.getini("tasksim_seed"), "the ini file"),
    ):
        if str(text).strip():
            try:
                return int(text), source
            except ValueError:
                raise pytest.UsageError(f"the seed in {source} must be a whole number, not {text!r}") from None
    return 0, "default"


def pytest_report_header(config: pytest.Config) -> str | None:
    seed, source = config.stash[_seed]
    if source == "default" and config.get_verbosity() < 1:
        return None
    return f"tasksim: seed={seed} (from {source})" if source != "default" else f"tasksim: seed={seed} (default)"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenario files, where the ini file or the command line says that there are some."""
    seed, source = parent.config.stash[_seed]
    return pytest_scenarios.collect(file_path, parent, None if source == "default" else seed)


# --- fixtures


@pytest.hookimpl(trylast=True)  # what the test itself parametrizes stands first in its id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    pytest_brokers.parametrize(metafunc)


@pytest.fixture(name=pytest_brokers.PARAMETER)
def tasksim_broker_(request: pytest.FixtureRequest) -> dict[str, str]:
    """Not for use: which of several brokers the test has."""
    found: dict[str, str] = request.param
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = getattr(item, "fixturenames", None)
        # Set up last, torn down first: what other fixtures provide outlives the workers that use it.
        if names is not None and "sim" not in names and item.get_closest_marker("tasksim") is not None:
            names.append("sim")


@pytest.fixture
def tasksim_app(request: pytest.FixtureRequest) -> Any:
    """The Celery app of `sim`, or its "package.module:attribute"; override it to make the app in the test suite."""
    return request.config.getini("tasksim_app") or None


@pytest.fixture
def tasksim_options() -> dict[str, Any]:
    """Keyword arguments for `tasksim.Simulation`, for all tests that see this fixture; override it to set some."""
    return {}


@pytest.fixture
def sim(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tasksim_app: Any,
    tasksim_options: dict[str, Any],
) -> Iterator[Simulation]:
    """A simulated task system for this test: `tasksim.Simulation` with the options of the marker."""
    __tracebackhide__ = _is_usage_error
    from tasksim.simulation import Simulation

    item = request.node
    options = {"seed": item.config.stash[_seed][0], **_options(item, tasksim_options)}
    app, assumed = options.pop("app", None) or tasksim_app, options.pop("assumes", None)
    if app is None:
        raise _usage_error(NO_APP)
    simulation = Simulation(app, **options)
    if assumed is not None:
        wrong = pytest_brokers.assume(simulation, assumed, of_several=pytest_brokers.is_one_of_several(item))
        if wrong:
            raise _usage_error(wrong)
    with simulation:
        pytest_failure.remember(item, simulation, tmp_path_factory)
        yield simulation


@pytest.fixture
def tasksim_dropin(request: pytest.FixtureRequest) -> DropIn:
    """The world of the session, where the ini file says `tasksim_dropin = true`."""
    session = request.config.pluginmanager.get_plugin(_DROPIN)
    if session is None:
        raise _usage_error(NO_DROPIN)
    world: DropIn = session.opened()
    return world


def _options(item: pytest.Item, common: dict[str, Any]) -> dict[str, Any]:
    """The options of the fixture `tasksim_options` and of all markers, the closest last."""
    __tracebackhide__ = _is_usage_error
    merged = _checked(common, "the fixture `tasksim_options`")
    wrong = pytest_brokers.check(merged, in_fixture=True)
    for mark in reversed(list(item.iter_markers("tasksim"))):
        if len(mark.args) > 1:
            raise _usage_error("the marker `tasksim` takes one positional argument, the app; name the others")
        given = {"app": mark.args[0], **mark.kwargs} if mark.args else mark.kwargs
        merged.update(_checked(given, "the marker `tasksim`"))
    merged = pytest_brokers.choose(item, merged)
    wrong = wrong or pytest_brokers.check(merged, in_fixture=False)
    if wrong:
        raise _usage_error(wrong)
    return merged


def _checked(options: Mapping[str, Any], place: str) -> dict[str, Any]:
    __tracebackhide__ = _is_usage_error
    import inspect

    from tasksim.simulation import Simulation

    allowed = [*inspect.signature(Simulation).parameters, "assumes"]
    unknown = [name for name in options if name not in allowed]
    if unknown:
        raise _usage_error(f"{place} does not take {', '.join(unknown)}; it takes: {', '.join(allowed)}")
    return dict(options)


def _usage_error(message: str) -> Exception:
    from tasksim.errors import UsageError

    return UsageError(message)


def _is_usage_error(error: pytest.ExceptionInfo[BaseException]) -> bool:
    from tasksim.errors import UsageError

    return error.errisinstance(UsageError)


# --- what a failing test says


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture."""
    pytest_failure.begin_watching(item.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    pytest_failure.end_watching(config)


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Before pytest makes the report of a phase. What a scenario has to say, its own report says."""
    if isinstance(item, pytest_scenarios.ScenarioItem):
        return
    try:
        pytest_failure.explain(item, call)
    except Exception as problem:  # nothing that a test does may end the session
        item.add_report_section(call.when, "tasksim", f"what broke cannot be told: {problem!r}")


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """`assert sim.check() == []` and `assert compare_eager(...) == []`: all that was found, each in a line."""
    if op != "==" or not isinstance(left, list) or not left or right != []:
        return None
    if any((type(one).__module__.partition(".")[0], type(one).__name__) not in _TOLD for one in left):
        return None
    return [f"nothing should be found, and there is ({len(left)}):", *(str(one) for one in left)]


# --- beside other plugins


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item) -> Generator[None, Any, Any]:
    """pytest-timeout counts real seconds, even where it begins within a simulation (`func_only`)."""
    simulation = pytest_failure.running(item)
    if simulation is None:
        return (yield)
    with simulation.apart():
        return (yield)


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> Generator[None, Any, Any]:
    """As above: the end of its thread is waited for in real time."""
    simulation = pytest_failure.running(item)
    if simulation is None:
        return (yield)
    with simulation.apart():
        return (yield)
