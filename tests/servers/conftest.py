"""What only the tests of our own servers need."""

import os
import shutil

import pytest

from tidelog.testing.container_images import docker_answers

IN_CI = os.environ.get("CI") == "true"


def _need(there: bool, what: str) -> None:
    """Skips on a laptop, fails in CI."""
    if there:
        return
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI=true")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """The test needs a Docker engine."""
    _need(docker_answers(), "a Docker engine")


@pytest.fixture(scope="session")
def redis_on_path() -> None:
    """The test needs Debian's redis-server."""
    _need(shutil.which("redis-server") is not None, "redis-server on the PATH")
