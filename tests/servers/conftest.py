"""What only the tests of our own servers need."""

import functools
import os
import shutil
import subprocess

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


@functools.cache
def compose_command() -> tuple[str, ...]:
    """`docker compose`, or the `docker-compose` that Debian has; empty if neither is here."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return ()


@pytest.fixture(scope="session")
def compose_installed() -> None:
    """The test needs a compose."""
    _need(bool(compose_command()), "`docker compose`, and Debian's package docker-compose,")
