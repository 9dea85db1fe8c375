"""With pytest-xdist's ``--dist loadgroup`` tests are dealt out as `tests.dealing` says. Hypothesis does not judge by
time: a machine may be busy."""

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
