"""docs/tutorial.md and docs/how-to/dr-drill.md, from their first command to their last, on real servers."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

import tidelog
from tests.documents.shell_pages import folder_for, installed, run_page
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1080)]


def test_the_tutorial(tmp_path: Path) -> None:
    """All of it, from `make up` to `make down`, in a folder that is as `make setup` leaves one. Only the stack's ports
    are others than a reader's; `.venv` is the environment that runs the tests."""
    environment = installed(tmp_path)
    try:
        run_page("tutorial.md", tmp_path, environment)
        assert (tmp_path / ".cache/stack/servers.json").read_text() == "{}\n"
        assert (tmp_path / ".cache/stack/kafka/data").is_dir() and (tmp_path / ".cache/shop/audit.py").is_file()
        with pytest.raises(redis.ConnectionError):
            redis.Redis(port=int(environment["STACK_REDIS_PORT"])).ping()
    finally:
        subprocess.run(["make", "down"], cwd=tmp_path, env=environment, check=True, timeout=120)


class Application(threading.Thread):
    """Writes all the while, and opens its group again when a promotion has ended its session."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self._deployment = deployment
        self.ending, self.sessions = threading.Event(), 0

    def run(self) -> None:
        while not self.ending.is_set():
            with open_group("bank", deployment=self._deployment) as group:
                self.sessions += 1
                try:
                    while not self.ending.wait(0.1):
                        group.volume("ledger").write(4096, b"%d" % self.sessions)
                        group.flush()
                except tidelog.Fenced:
                    pass


def test_the_drill(tidelog_deployment: RunningDeployment, tmp_path: Path) -> None:
    """While an application goes on; it has lost nothing by it, and was asked for another session twice."""
    with folder_for(tidelog_deployment, tmp_path, "bank") as folder:
        tidelog_deployment.deployment.cluster.create_group("bank")
        for site in ("tokyo", "osaka", "london"):
            tidelog_deployment.wait_for_store(site, "bank", timeout=60)
        with tidelog_deployment.group("bank") as group:
            group.create_volume("ledger", "1MiB").write(0, b"good")
            group.mark("first").wait(timeout=60)
        application = Application(tidelog_deployment.deployment)
        application.start()
        try:
            programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            own = {"TIDELOG_CONFIG": str(folder / "tidelog.toml"), "PATH": programs}
            run_page("how-to/dr-drill.md", folder, os.environ | own)
        finally:
            application.ending.set()
            application.join()
        assert application.sessions == 3
