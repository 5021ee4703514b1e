"""python -m tests.differential [--server amqp|redis] [--cases N] [--first SEED] [--jobs N] [--plant RULE]

Runs drawn cases on a simulated and on a real server, which it starts itself. Prints how many cases agreed and in how
many of them each operation and rule occurred. Exits 1 if two servers disagree (the case is printed, made small), or if
of 2,000 cases or more fewer than 50 show an operation or rule; with --plant, if the wrong rule is not found. Exits 2
if there is no real server.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import pytest

from tests.differential import kinds
from tests.differential.cases import Outcome
from tests.differential.parallel import find, run

#: So often each operation and rule must occur, in so many cases.
LEAST, ENOUGH = 50, 2000
#: So many cases in a thousand may differ once and agree when they are run again.
UNSTEADY = 5


def _report(name: str, outcome: Outcome, seconds: float) -> bool:
    """Print what came out; True if it is good."""
    print(f"{name}: {outcome.cases} cases, {'they differ' if outcome.difference else 'all agree'}, {seconds:.0f} s")
    rarest = outcome.rarest(kinds()[name].marks)
    print("  " + ", ".join(f"{number} {mark}" for number, mark in rarest))
    if outcome.difference:
        print(outcome.difference)
        return False
    if outcome.unsteady:
        print(f"  {outcome.unsteady} differed once, and agreed when they were run again")
    if outcome.unsteady * 1000 > UNSTEADY * outcome.cases:
        return False
    seldom = [mark for number, mark in rarest if number < LEAST]
    if outcome.cases >= ENOUGH and seldom:
        print(f"  in fewer than {LEAST} cases: {', '.join(seldom)}")
        return False
    return True


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--server", choices=sorted(kinds()), help="default: both")
    parser.add_argument("--cases", type=int, default=ENOUGH)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first case")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--plant", default="", metavar="RULE", help="a wrong rule, or `all` for each; they must be found"
    )
    arguments = parser.parse_args()
    good = True
    try:
        for name in [arguments.server] if arguments.server else sorted(kinds()):
            began = time.perf_counter()
            if not arguments.plant:
                outcome = run(name, arguments.cases, arguments.first, arguments.jobs)
                good = _report(name, outcome, time.perf_counter() - began) and good
                continue
            plants = list(kinds()[name].plants) if arguments.plant == "all" else [arguments.plant]
            for plant, outcome in find(name, plants, arguments.cases, arguments.first):
                print(f"{name}: {plant}: {'found' if outcome.difference else 'NOT FOUND'}, {outcome.cases} cases")
                good = good and bool(outcome.difference)
    except (pytest.skip.Exception, pytest.fail.Exception) as exc:
        print(f"{name}: {exc.msg}")
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
