"""What holds for containers only: leftovers of killed sessions, and where their ports are."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("docker_engine")]

LEAVE_ONE = """
import os, signal
from tidelog.testing.containers import RedisContainerServer
server = RedisContainerServer()
server.start()
print(server._wrapped().id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def ids(client: object) -> set[str]:
    return {container.id for container in client.containers.list(all=True)}  # type: ignore[attr-defined]


def test_leftovers_of_a_killed_session_are_removed_and_living_ones_are_not() -> None:
    from docker.client import DockerClient

    from tidelog.testing.container_images import remove_leftovers
    from tidelog.testing.containers import RedisContainerServer

    client = DockerClient.from_env()
    with RedisContainerServer() as living:
        left = subprocess.run([sys.executable, "-c", LEAVE_ONE], capture_output=True, text=True).stdout.strip()
        assert left in ids(client)
        remove_leftovers()
        assert left not in ids(client)
        assert living.running
    client.close()


def test_a_port_is_published_on_loopback_only() -> None:
    from tidelog.testing.containers import RedisContainerServer

    with RedisContainerServer() as server:
        bindings = server._wrapped().attrs["HostConfig"]["PortBindings"]
    assert bindings == {"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(server.port)}]}
