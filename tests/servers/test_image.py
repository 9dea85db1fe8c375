"""infra/Containerfile is built, and its image run: by itself, and as the workers of compose's profile `sites`."""

import json
import re
import time
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from tests.servers.compose_project import Compose
from tests.servers.tidelog_image import CONTAINERFILE, built_image, docker
from tidelog.testing.container_images import KAFKA_IMAGE, REDIS_IMAGE, image_name
from tidelog.testing.ports import available_port
from tidelog.testing.readiness import wait_until
from tidelog.testing.stack import SITES

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]
# As compose.yaml has them for each container of tidelog.
BOUND = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--tmpfs", "/tmp")
WORKERS = [f"worker-{site}" for site in SITES]
STOP_S = 30  # as the Containerfile asks for
# Run by the image's Python: who it is, which rights it has, and whether it can write where it stands.
WHO = """
import json, os, apsw, prometheus_client, starlette, uvicorn
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([os.getuid(), os.getgid() == 0, status["CapEff"].strip(), os.access(".", os.W_OK)]))
"""


@pytest.fixture(scope="module")
def image(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: ARG001
    """Of the Containerfile, from its base to its last line."""
    with built_image(tmp_path_factory.mktemp("image")) as name:
        yield name


@pytest.fixture
def stack(image: str, compose_installed: None) -> Iterator[Compose]:  # noqa: ARG001
    """The stack with the profile `sites`, healthy; taken down with its volumes."""
    names = [*SITES, "kafka", *(f"{site}_metrics" for site in SITES)]
    ports = {f"STACK_{name.upper()}_PORT": str(available_port()) for name in names}
    images = {KAFKA_IMAGE.variable: image_name(KAFKA_IMAGE), REDIS_IMAGE.variable: image_name(REDIS_IMAGE)}
    compose = Compose(**ports, **images, TIDELOG_IMAGE=image, COMPOSE_PROFILES="sites")
    try:
        compose("up", "-d")
        assert wait_until(lambda: set(compose.health().values()) == {"healthy"}, timeout_s=150), compose("logs")
        assert set(compose.health()) == {"kafka", *SITES, *WORKERS}
        yield compose
    finally:
        compose("down", "-v")


def test_it_runs_without_rights_and_without_a_place_to_write(image: str) -> None:
    """As the user that the Containerfile names by number, with no capability, on a root file system for reading."""
    (user,) = re.findall(r"^USER (\d+)$", CONTAINERFILE.read_text(), re.MULTILINE)
    assert docker("inspect", "-f", "{{.Config.User}}", image).strip() == user != "0"
    assert docker("run", "--rm", *BOUND, image, "--version").split() == ["tidelog", version("tidelog")]
    assert "site" in docker("run", "--rm", *BOUND, image)
    told = docker("run", "--rm", *BOUND, "--entrypoint", "python", image, "-c", WHO)
    assert json.loads(told) == [int(user), False, "0" * 16, False]


def test_workers_in_containers_hold_the_same_copy_and_end_in_order(stack: Compose) -> None:
    """One write and one copy at the primary; then `docker stop`, in time and with exit code 0."""
    workers = [stack("ps", "-q", worker).strip() for worker in WORKERS]

    def tidelog(*words: str, given: str | None = None) -> str:
        return docker("exec", "-i", workers[0], "tidelog", *words, given=given)

    tidelog("group", "create", "bank")
    tidelog("volume", "create", "ledger", "--size", "1MiB", "--group", "bank")
    tidelog("volume", "write", "ledger", "--group", "bank", given="before")
    tidelog("pitc", "create", "one", "--group", "bank", "--wait", "--timeout", "60s")
    tidelog("volume", "write", "ledger", "--group", "bank", given="behind")
    tidelog("pitc", "verify", "one", "--group", "bank", "--full")  # exit code 3 if a site's digest differs
    for site in SITES:
        read = ("volume", "read", "ledger", "--group", "bank", "--length", "6", "--site", site)
        assert wait_until(lambda read=read: tidelog(*read) == "behind", timeout_s=60)  # type: ignore[misc]
        assert tidelog(*read, "--pitc", "one") == "before"
    for worker in workers:
        begun = time.monotonic()
        docker("stop", "--time", str(STOP_S), worker)
        took = time.monotonic() - begun
        state = docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", worker).split()
        assert state == ["exited", "0"] and took < STOP_S, (state, took, docker("logs", "--tail", "20", worker))
