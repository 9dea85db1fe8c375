"""With pytest-xdist's ``--dist loadgroup`` tests are dealt out as `tests.dealing` says. Hypothesis does not judge by
time: a machine may be busy. CI asks a test that fails once more (`--reruns 1`): what the first failure said is printed
in full all the same, and where more than `SECOND_TRIES` tests needed that, the run has failed."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tidelog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidelog")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """In the process that has the workers."""
    if config.getoption("dist") != "loadgroup":
        return None
    from tests.dealing import Dealing

    return Dealing(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In each of the workers."""
    if hasattr(config, "workerinput"):
        from tests.dealing import slow_first

        slow_first(items)


SECOND_TRIES = 4


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the process that has the workers, or the only one."""
    if len(_failed_at_first(session.config)) > SECOND_TRIES:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for report in (found := _failed_at_first(config)):
        terminalreporter.section(f"failed at first, was asked once more: {report.nodeid}", red=True)
        terminalreporter.line(report.longreprtext)
    if len(found) > SECOND_TRIES:
        said = f"FAILED: {len(found)} tests had to be asked once more, more than {SECOND_TRIES}"
        terminalreporter.line(said, red=True)


def _failed_at_first(config: pytest.Config) -> list[pytest.TestReport]:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return [] if reporter is None else reporter.stats.get("rerun", [])
