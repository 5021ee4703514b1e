"""For all tests and scenarios: those that state what only newer releases do, see tests/versions.py."""

from collections.abc import Generator

import pytest

from tests.versions import difference_of


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that must fail with the installed releases, and does, is expected to."""
    report = yield
    known = difference_of(item.nodeid) if call.when == "call" else None
    if known is not None:
        verdict = known.judge(report.passed, report.longreprtext)
        if verdict == "otherwise":
            report.outcome = "skipped"
            report.wasxfail = f"{known.difference} {known.reason}"  # pytest's own word for an expected failure
        elif verdict == "same":
            report.outcome = "failed"
            report.longrepr = f"it holds with the installed releases: {known.difference} Take it off versions.json."
    return report
