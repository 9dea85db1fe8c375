"""The commands of docs/runbooks/resync.md, as they stand, on real servers, beside running workers and after damage."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.clean_stores import group_of_its_own
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks" / "resync.md").read_text()
SITES = ("tokyo", "osaka")

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def config_file(tidelog_deployment: RunningDeployment, tmp_path: Path) -> Iterator[Path]:
    """Two sites on the test's servers."""
    config: Config = tidelog_deployment.deployment.config
    urls = {name: config.sites[name].redis.url for name in SITES}
    path = tmp_path / "tidelog.toml"
    path.write_text(f'prefix = "{config.prefix}"\n' + stack_toml(",".join(config.kafka.bootstrap_servers), urls))
    with group_of_its_own(urls.values(), "bank"):
        yield path


def tidelog(config_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidelog", "-c", str(config_file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_resync(config_file: Path) -> None:
    """The first look says 3; after the resync all say 0."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    look, dry, mend, again, listing = [line.split()[1:] for block in blocks for line in block.splitlines()]
    with RunningDeployment(RealDeployment(Config.load(config_file, {}))) as running:
        running.deployment.cluster.create_group("bank")
        for site in SITES:
            running.wait_for_store(site, "bank", timeout=60)
        with open_group("bank", deployment=running.deployment) as group:
            volume = group.create_volume("ledger", "1MiB")
            volume.write(0, b"x" * 50_000)
            group.mark("end-of-day").wait(SITES, timeout=60)
        assert tidelog(config_file, *look).returncode == 0
        with redis.Redis.from_url(running.deployment.config.sites["osaka"].redis.url) as server:
            server.setrange(f"tidelog:{{bank}}:b:{volume.info.id}:{7:08x}", 99, b"damage")
        found = tidelog(config_file, *look)
        assert found.returncode == 3 and "tidelog site resync osaka --from tokyo" in " ".join(found.stderr.split())
        assert tidelog(config_file, *dry).returncode == 0
        assert tidelog(config_file, *look).returncode == 3, "a dry run changes nothing"
        for arguments in (mend, again):
            done = tidelog(config_file, *arguments)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert wait_until(lambda: tidelog(config_file, *listing).returncode == 0, timeout_s=60)
