"""What holds for containers only: leftovers of killed sessions, and where their ports are."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("docker_engine")]

LEAVE_ONE = """
import sys
from tidelog.testing.containers import RedisContainerServer
server = RedisContainerServer()
server.start()
print(server._wrapped().id, flush=True)
sys.stdin.read()
"""


def ids(client: object) -> set[str]:
    return {container.id for container in client.containers.list(all=True)}  # type: ignore[attr-defined]


def test_leftovers_of_a_killed_session_are_removed_and_living_ones_are_not() -> None:
    from docker.client import DockerClient

    from tidelog.testing.container_images import remove_leftovers
    from tidelog.testing.containers import RedisContainerServer

    client = DockerClient.from_env()
    with RedisContainerServer() as living:
        session = subprocess.Popen(
            [sys.executable, "-c", LEAVE_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert session.stdout is not None
        left = session.stdout.readline().strip()
        assert left in ids(client)  # before its end: then another process of these tests may remove it first
        session.kill()
        session.communicate()
        remove_leftovers()
        assert left not in ids(client)
        assert living.running
    client.close()


def test_a_port_is_published_on_loopback_only() -> None:
    from tidelog.testing.containers import RedisContainerServer

    with RedisContainerServer() as server:
        bindings = server._wrapped().attrs["HostConfig"]["PortBindings"]
    assert bindings == {"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(server.port)}]}
