"""python -m tests.conformance PROGRAMS_DIR RECORDINGS_DIR [--only NAME] [--json FILE] [--seed N]

Replays every program of a folder in virtual time and compares it with its recordings. Prints one line per program and
broker: match, or the first differences. Exit status 1 when any differs.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from tests.conformance.runner import Corpus

#: So many differences of one run are printed.
SHOWN = 5


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("programs", type=Path)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--only", help="the name of one program")
    parser.add_argument("--json", type=Path, help="write the outcome to this file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("celery").setLevel(logging.CRITICAL)
    corpus = Corpus(arguments.programs, arguments.recordings)
    outcomes = []
    for name, broker in corpus.cases(arguments.only):
        differences = corpus.differences(name, broker, arguments.seed)
        outcomes.append({"program": name, "broker": broker, "match": not differences, "differences": differences})
        print(f"{name} {broker}: {'match' if not differences else 'DIFFERS'}", flush=True)
        for line in differences[:SHOWN]:
            print(f"    {line}")
        if len(differences) > SHOWN:
            print(f"    and {len(differences) - SHOWN} more")
    if arguments.json:
        arguments.json.write_text(json.dumps(outcomes, indent=1) + "\n", encoding="utf-8")
    matching = sum(1 for one in outcomes if one["match"])
    print(f"{matching} of {len(outcomes)} match")
    return 0 if outcomes and matching == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
