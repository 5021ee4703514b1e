"""What laws come to, each checked in a fork of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Iterator

from tests.laws.base import LAWS, check

#: Cases of each law in the first round, if there is a mutant: what most laws would find is found soon, and on a busy
#: machine each law has had its turn.
FIRST = 5
#: Real seconds after which laws are checked with a fifth of their cases, and after which with two, so that all end
#: within three minutes on a machine with other work too. Of so few cases the shares say nothing.
HURRY, AT_LAST = 100.0, 140.0


def verdict(name: str, examples: int | None, mutated: bool, seed: int, hurry_at: float) -> tuple[bool, str]:
    """Check one law: does it fail, and what there is to say. On a slow machine the last ones get fewer cases."""
    law = LAWS[name]
    if not law.applies:
        return False, f"{law.number:4} {law.name}: not of this release"
    hurried = examples is None and time.perf_counter() > hurry_at
    if hurried:
        late = time.perf_counter() > hurry_at + AT_LAST - HURRY
        examples = 2 if late else max(5, law.examples // 5)
    report = check(law, examples, seed=seed)
    if report.error is None:
        poor = (
            ""
            if mutated or hurried or not report.poor
            else f"\n  too few of its cases had a {' or a '.join(report.poor)}"
        )
        return bool(poor), f"{report}{poor}"
    told = f"{type(report.error).__name__}: {report.error}".splitlines()[:20]
    lines = [f"{law.number} does not hold: {law.name}", f"  smallest case: {report.smallest}"]
    return True, "\n".join([*lines, *(f"  {line[:2000]}" for line in told)])


def verdicts(
    names: Iterable[str], examples: int | None, mutated: bool, jobs: int, seed: int = 0
) -> Iterator[tuple[bool, str]]:
    """Of each law in order. Each is checked in a fork of its own: what a simulation kills is never freed.

    With a mutant there is a round of few cases before.
    """
    hurry_at = time.perf_counter() + HURRY
    names = list(names)
    # The second round draws cases of its own.
    rounds = [(FIRST, seed), (None, ~seed)] if mutated and examples is None else [(examples, seed)]
    asked = [(name, most, mutated, drawn, hurry_at) for most, drawn in rounds for name in names]
    if jobs < 1:
        yield from (verdict(*one) for one in asked)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        waiting = [pool.apply_async(verdict, one) for one in asked]
        for one in waiting:
            yield one.get()
