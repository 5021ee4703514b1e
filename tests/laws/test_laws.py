"""Every law holds, on few cases; `python -m tests.laws` checks them on many."""

from __future__ import annotations

import pytest

from tests.laws.base import LAWS
from tests.laws.laws import load
from tests.laws.verdicts import verdicts

load()
#: Forks are made where other threads may be.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.mark.parametrize("name", LAWS)
def test_the_law_holds(name: str) -> None:
    ((fails, text),) = verdicts([name], 2, True, 1)
    print(text)  # noqa: T201
    assert not fails, text
