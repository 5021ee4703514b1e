"""`python scripts/with_postgres.py COMMAND...`: run a command beside a PostgreSQL server of its own.

The server lives in a temporary folder, listens on a Unix socket there and nowhere else, and is gone afterwards. The
command finds it by TASKSIM_POSTGRES. Root may not run a server; then the user `postgres` does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def find(program: str) -> str | None:
    """A program of PostgreSQL's, which Debian does not put on the path; the newest release."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else shutil.which(program)


def as_servers_user(*command: str) -> None:
    """Run a program as somebody who may run a server."""
    before = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups") if os.geteuid() == 0 else ()
    subprocess.run([*before, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A server; gives how to connect to it.

    Raises:
        SystemExit: PostgreSQL is not installed.
    """
    initdb, control = find("initdb"), find("pg_ctl")
    if initdb is None or control is None:
        raise SystemExit("there is no PostgreSQL here: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    data = str(folder / "data")
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        as_servers_user(initdb, "-A", "trust", "-U", "postgres", "-D", data, "--no-sync")
        options = f"-F -c listen_addresses= -c unix_socket_directories={folder}"
        as_servers_user(control, "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            as_servers_user(control, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with server() as found:
        raise SystemExit(
            subprocess.run(sys.argv[1:], env={**os.environ, "TASKSIM_POSTGRES": found}, check=False).returncode
        )
