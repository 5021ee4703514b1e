"""python -m tests.laws [--mutant FILE] [--law NAME ...] [--examples N] [--all] [--seed N]

Checks the laws of retry, ack and expiry semantics on the simulated engine, with real Celery inside. Exits 0 if all
hold, 1 if one fails (its smallest case is printed), 2 if the mutant cannot be planted.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time

from tests.laws.base import LAWS, Law
from tests.laws.laws import load
from tests.laws.mutant import plant
from tests.laws.verdicts import verdicts


def chosen(names: list[str]) -> list[Law]:
    """The laws that are meant: all, or those whose name or number is given."""
    return [one for one in LAWS.values() if not names or one.number in names or any(name in one.name for name in names)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.laws", description=__doc__)
    parser.add_argument("--mutant", metavar="FILE", help="a Python file whose plant() patches Celery")
    parser.add_argument("--law", action="append", default=[], metavar="NAME", help="only laws with this number or name")
    parser.add_argument("--examples", type=int, help="cases of each law (default: each law's own number)")
    parser.add_argument("--all", action="store_true", help="go on after the first law that fails")
    parser.add_argument("--seed", type=int, default=0, help="draw other cases (default: 0, always the same)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="processes at a time (default: 2; 0: none but this one)",
    )
    arguments = parser.parse_args()
    load()
    gc.freeze()
    began, failed = time.perf_counter(), 0
    take_back = plant(arguments.mutant) if arguments.mutant else lambda: None
    if take_back is None:
        return 2
    try:
        names = [law.name for law in chosen(arguments.law)]
        for fails, text in verdicts(names, arguments.examples, bool(arguments.mutant), arguments.jobs, arguments.seed):
            print(text, flush=True)
            failed += fails
            if failed and not arguments.all:
                break
    finally:
        take_back()
    print(f"{time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
