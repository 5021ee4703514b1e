"""What other releases do otherwise, for tests that state what the newest one does: `versions.json`, as data.

Each entry is {"tests", "needs", "says", "difference", "reason"}. Where the installed releases meet `needs`, these tests
are run all the same and must fail, with a text in which the expression `says` is found; one that passes is an error.
Only a test that cannot run at all there is left out. What recordings say of other releases is in
`conformance/versions.json`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tasksim.patching.table import is_met


@dataclass(frozen=True)
class Difference:
    """One entry.

    Attributes:
        tests: names of test functions or scenario files, as pytest prints them, without parameters.
        needs: requirements such as "celery<5.7".
        says: an expression that is found in the text of the failure.
        difference: what is otherwise.
        reason: since when, and by what.
    """

    tests: list[str]
    needs: list[str]
    says: str
    difference: str
    reason: str

    def applies(self) -> bool:
        """Is one of these releases installed?"""
        return all(is_met(one) for one in self.needs)

    def concerns(self, node: str) -> bool:
        """Is this test, of any parameters, one of them?"""
        name, _, parameters = node.partition("[")
        return name in self.tests or f"{name}[{parameters}" in self.tests

    def judge(self, passed: bool, text: str) -> str:
        """ "otherwise" as expected, "same" where it should not be, or "wrong": it failed for another reason."""
        if passed:
            return "same"
        return "otherwise" if re.search(self.says, text) else "wrong"


ALL = [
    Difference(**entry) for entry in json.loads(Path(__file__).with_name("versions.json").read_text(encoding="utf-8"))
]


def difference_of(node: str) -> Difference | None:
    """What the installed releases do otherwise in this test, if anything."""
    return next((one for one in ALL if one.concerns(node) and one.applies()), None)
