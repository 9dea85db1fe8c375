"""With pytest-xdist's ``--dist loadgroup`` tests are dealt out as `tests.dealing` says."""

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """In the process that has the workers."""
    if config.getoption("dist") != "loadgroup":
        return None
    from tests.dealing import Dealing

    return Dealing(config, log)
