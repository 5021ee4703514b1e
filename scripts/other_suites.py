"""Run another package's tests inside the simulation, with the drop-in switched on.

python scripts/other_suites.py --package NAME [--path FOLDER_OR_ARCHIVE] [--json FILE] [--seed N]
                               [--require PIP_ARGUMENT ...] [-- PYTEST_ARGUMENT ...]

The tests are not changed. They come from the package's source distribution, from its repository by tag where the
distribution has none, or from a checkout or an archive given by --path. A package that is not in the table of this
script needs --path; its dependencies are installed with it, and what its tests need besides is given with --require.
What stands after -- is for pytest: files to run, options. Exits 0 if no test failed.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from suites import BUILD, Row, SuiteError, fetch_release, fetch_tag, make_environment, report, run_pytest, unpack

FOLDER = BUILD / "suites"


@dataclass(frozen=True)
class Package:
    """Where a package's tests are, and what they need.

    Attributes:
        release: the one that is fetched.
        requirements: for pip.
        tests: what pytest is given: files, folders, options.
        repository: where the tests are if the source distribution has none; `tag` is the release's.
        inside: the folder of the tests' root within the repository.
        only: what to take of it, where the package beside its tests is not built and would hide the installed one.
        environment: variables.
        not_served: tests that cannot run here, and why.
    """

    release: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...] = ()
    repository: str = ""
    tag: str = ""
    inside: str = ""
    only: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    not_served: dict[str, str] = field(default_factory=dict)


_AGENT = "it needs Datadog's agent, a server of its own"
_GREENLETS = "the agent tells greenlets apart, where there are any, and here each simulated thread is one"
_HTTP = "its HTTP server is made of real sockets, in a thread that blocks for real"
#: `pytest-celery` below 1.0 is `celery.contrib.pytest` as a plugin, and nothing else.
_PLUGIN = ("celery[redis]", "pytest", "pytest-celery<1")

PACKAGES = {
    "celery-singleton": Package(
        "0.3.1", (*_PLUGIN, "celery-singleton==0.3.1", "pytest-cov"), ("tests",),
        repository="https://github.com/steinitzu/celery-singleton", tag="0.3.1",
    ),
    "opentelemetry-instrumentation-celery": Package(
        "0.66b1",
        ("celery[redis]", "pytest", "opentelemetry-instrumentation-celery==0.66b1", "opentelemetry-test-utils==0.66b1"),
        ("tests",), inside="instrumentation/opentelemetry-instrumentation-celery",
    ),
    "celery-batches": Package(
        "0.11", ("celery[redis]<5.7", "pytest", "pytest-celery<1", "celery-batches==0.11"), ("t",),
        repository="https://github.com/clokep/celery-batches", tag="v0.11",
    ),
    "celery-pubsub": Package(
        "2.0.0-beta3", ("celery[redis]", "pytest", "packaging", "typing_extensions"), ("tests",),
        repository="https://github.com/Mulugruntz/celery-pubsub", tag="2.0.0-beta3",
    ),
    "celery-exporter": Package(
        "0.12.2",
        (*_PLUGIN, "prometheus-client", "click", "pretty-errors", "loguru", "flask", "waitress", "arrow", "timy",
         "pytest-mock", "pytest-cov", "requests"),
        ("--broker=rabbitmq",), repository="https://github.com/danihodovic/celery-exporter", tag="v0.12.2",
        not_served={
            "src/test_cli.py::test_integration": _HTTP, "src/test_cli.py::test_integration_static_labels": _HTTP,
            "src/test_http_server.py::test_health": _HTTP, "src/test_http_server.py::test_index": _HTTP,
        },
    ),
    "sentry-sdk": Package(
        "2.75.0",
        ("celery[redis]", "pytest", "sentry-sdk==2.75.0", "newrelic<10.17", "pytest-cov",
         "pytest-localserver", "jsonschema", "executing", "asttokens"),
        ("tests/integrations/celery",),
    ),
    "newrelic": Package(
        "14.1.0", (*_PLUGIN, "newrelic==14.1.0", "WebTest", "beautifulsoup4", "coverage", "jinja2"),
        ("application_celery",), inside="tests",
        not_served={
            f"application_celery/test_task_methods.py::test_celery_task_{how}_custom_{kind}": _GREENLETS
            for how in ("delay", "apply_async") for kind in ("super", "run")
        },
    ),
    "ddtrace": Package(
        "4.13.0",
        (*_PLUGIN, "ddtrace==4.13.0", "more_itertools<8.11.0", "pytest-cov", "pytest-asyncio", "pytest-mock", "mock",
         "requests", "opentracing", "hypothesis"),
        ("tests/contrib/celery",), repository="https://github.com/DataDog/dd-trace-py", tag="v4.13.0",
        only=("tests", "scripts"),
        not_served={
            "tests/contrib/celery/test_integration.py::test_distributed_tracing_propagation_no_producer_span": _AGENT,
            "tests/contrib/celery/test_patch.py::CeleryPatchTest::test_and_emit_get_version": _AGENT,
        },
    ),
    "instana": Package(
        "3.20.0", ("celery[redis]", "pytest", "instana==3.20.0", "pytest-mock"), ("tests/frameworks/test_celery.py",),
    ),
    "asgi-correlation-id": Package(
        "4.3.4",
        (*_PLUGIN, "asgi-correlation-id==4.3.4", "pytest-mock", "sentry-sdk", "pytest-asyncio<1", "fastapi",
         "httpx<0.28", "requests", "websockets"),
        ("tests",), repository="https://github.com/snok/asgi-correlation-id", tag="v4.3.4",
    ),
    "celery-longterm-scheduler": Package(
        "1.3.1", ("celery[redis]", "pytest", "celery-longterm-scheduler==1.3.1", "testing.redis", "setuptools<80"),
    ),
    "celery-executor": Package("0.2.0", (*_PLUGIN, "celery-executor==0.2.0", "pytest-cov", "six"), ("tests",)),
}  # fmt: skip


def find_source(name: str, package: Package | None, path: Path | None) -> Path:
    """The folder in which the tests are run."""
    if path is not None:
        source = path.resolve()
        if source.is_file():
            unpacked = Path(tempfile.mkdtemp(dir=FOLDER))
            archive = unpacked / source.name
            archive.write_bytes(source.read_bytes())
            source = unpack(archive)
        elif not source.is_dir():
            raise SuiteError(f"--path {path}: there is no such folder or archive")
    elif package is None:
        raise SuiteError(f"{name} is not in the table of this script: give a checkout of it with --path")
    elif package.repository:
        source = fetch_tag(FOLDER / name, package.repository, package.tag)
    else:
        source = fetch_release(FOLDER / name, name, package.release)
    if package is not None and package.only:
        tests = Path(tempfile.mkdtemp(dir=FOLDER))
        for one in package.only:
            shutil.copytree(source / one, tests / one, symlinks=True)
        source = tests
    inside = source / package.inside if package is not None and package.inside else source
    return inside if inside.is_dir() else source


def run(name: str, path: Path | None, extra: list[str], arguments: list[str], seed: int) -> list[Row]:
    """Fetch a suite, install what it needs, and run it; what became of its tests."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    package = PACKAGES.get(name)
    source = find_source(name, package, path)
    if package is None:
        installable = any((source / one).exists() for one in ("pyproject.toml", "setup.py"))
        package = Package("", ("celery[redis]", "pytest", *([str(source)] if installable else [])))
    python = make_environment(FOLDER / name, (*package.requirements, *extra))
    return run_pytest(
        python, source, arguments or list(package.tests), environment=package.environment,
        not_served=package.not_served, seed=seed, path=[one for one in (source / "src", source) if one.is_dir()],
    )  # fmt: skip


def main() -> int:
    """The command."""
    known = ", ".join(PACKAGES)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", required=True, metavar="NAME", help=f"any name with --path, else one of: {known}")
    parser.add_argument("--path", type=Path, help="a checkout, or a source distribution as an archive")
    parser.add_argument("--require", action="append", default=[], help="what the tests need besides, for pip")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("arguments", nargs="*", help="for pytest, after --: files to run, options")
    options = parser.parse_args()
    extra = [word for text in options.require for word in shlex.split(text)]
    began = time.monotonic()
    try:
        rows = run(options.package, options.path, extra, options.arguments, options.seed)
    except SuiteError as problem:
        print(problem, file=sys.stderr)
        return 2
    return report(rows, f"{options.package}: {len(rows)} tests in {time.monotonic() - began:.0f} s", options.json)


if __name__ == "__main__":
    sys.exit(main())
