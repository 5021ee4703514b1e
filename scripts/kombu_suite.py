"""Run kombu's own integration tests inside the simulation.

python scripts/kombu_suite.py --broker amqp|redis [--json FILE] [--source FOLDER] [-k EXPRESSION] [-v]

The tests are those of the kombu release that is installed, taken from its source distribution and not changed. Each
test, its fixtures included, runs in a simulation of its own, in which one server listens at its usual port and every
other port is closed. Exits 0 if each test passes or stands in `EXPECTED`, with the outcome that stands there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import kombu
import pytest
from celery import Celery

from tasksim import Simulation

#: The files of each broker, and the port at which its server listens.
FILES = {
    "amqp": ("t/integration/test_py_amqp.py",),
    "redis": ("t/integration/test_redis.py", "t/integration/test_redis_brpop_qos.py"),
}
PORTS = {"amqp": 5672, "redis": 6379}

#: Tests that cannot pass here, by the beginning of their name, with the reason.
EXPECTED: dict[str, str] = {
    "test_RedisBrpopHealthCheck": "its TCP proxy is made of real sockets and threads that block for real",
}


@dataclass
class Row:
    """What became of one test."""

    test: str
    outcome: str
    reason: str = ""
    seconds: float = 0.0


class _OnlyOne:
    """As a set of servers that refuse: all but one. Every address reaches a server of its own in a simulation."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __contains__(self, name: object) -> bool:
        return name != self._name


class Suite:
    """A pytest plugin: a simulation around each test, and the outcomes."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.rows: dict[str, Row] = {}

    @pytest.fixture(autouse=True)
    def _inside(self) -> Iterator[None]:
        app = Celery("kombu-suite", broker=f"{self.broker}://", backend="cache+memory://", set_as_current=False)
        with Simulation(app, workers=0) as simulation:
            world = simulation._world
            servers = world.amqp if self.broker == "amqp" else world.redis
            server = servers.at("localhost", PORTS[self.broker])
            world.network.refusing = _OnlyOne(server.name)
            if self.broker == "redis":
                server.store.logins = {}
            yield

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """What would block for real is not tried."""
        for item in items:
            reason = known(item.nodeid)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of the three phases."""
        name = report.nodeid.removeprefix("t/integration/")
        row = self.rows.setdefault(name, Row(name, "passed"))
        row.seconds = round(row.seconds + report.duration, 3)
        if report.outcome != "passed" and row.outcome == "passed":
            row.outcome = report.outcome
            row.reason = known(name) or _last_line(report)


def known(name: str) -> str | None:
    """Why a test cannot pass here, if it is one of those."""
    plain = name.split("::", 1)[-1]
    return next((reason for begin, reason in EXPECTED.items() if plain.startswith(begin)), None)


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).strip().split("\n", 1)[0]


def fetch(folder: Path) -> Path:
    """Get the tests of the installed release into a folder; gives the folder that they run in."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    command += ["--dest", str(folder), f"kombu=={kombu.__version__}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    archive = next(folder.glob("kombu-*.tar.gz"))
    with tarfile.open(archive) as tar:
        wanted = [one for one in tar.getmembers() if one.name.split("/")[1:2] in (["t"], ["setup.cfg"])]
        tar.extractall(folder, members=wanted, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def run(broker: str, source: Path, *, only: str = "", loud: bool = False) -> list[Row]:
    """Run one broker's tests; gives their outcomes in order."""
    suite = Suite(broker)
    arguments = [str(source / name) for name in FILES[broker]]
    arguments += ["--rootdir", str(source), "-c", str(source / "setup.cfg"), "-p", "no:cacheprovider", "-p", "no:xdist"]
    arguments += ["-W", "ignore", "--tb", "short" if loud else "line", "-k", only]
    arguments += ["-vv"] if loud else ["-q", "--no-header", "--no-summary"]
    pytest.main(arguments, plugins=[suite])
    return list(suite.rows.values())


def unexpected(rows: list[Row]) -> list[Row]:
    """Those that failed and should not have, and those that passed and should not have."""
    return [row for row in rows if (row.outcome == "passed") == bool(known(row.test))]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=sorted(FILES), required=True)
    parser.add_argument("--json", type=Path, help="write a list of test, outcome, reason and (real) seconds")
    parser.add_argument("--source", type=Path, help="a kombu source tree that is there already")
    parser.add_argument("-k", dest="only", default="", help="only tests that pytest's expression selects")
    parser.add_argument("-v", dest="loud", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kombu-suite-") as folder:
        source = (arguments.source or fetch(Path(folder))).resolve()
        began = time.perf_counter()
        rows = run(arguments.broker, source, only=arguments.only, loud=arguments.loud)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    for row in rows:
        if row.outcome != "passed":
            print(f"{row.outcome}: {row.test}: {row.reason}")
    counts = Counter(row.outcome for row in rows)
    wrong = unexpected(rows)
    print(f"kombu {kombu.__version__} on {arguments.broker}:", ", ".join(f"{n} {what}" for what, n in counts.items()))
    print(f"{len(wrong)} not as expected; {time.perf_counter() - began:.1f} s")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
