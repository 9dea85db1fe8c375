"""docs/runbooks/rebuild.md: its commands, as they stand, on real servers, for a site whose Redis was emptied under its
worker."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clean_stores import forget_group, group_of_its_own
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks" / "rebuild.md").read_text()
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


def tidelog(config_file: Path, line: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    arguments = line.replace("/tmp/", f"{tmp_path}/").split()[1:]
    command = [sys.executable, "-m", "tidelog", "-c", str(config_file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_page(config_file: Path, tmp_path: Path) -> None:
    look, choose, do = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    with RunningDeployment(RealDeployment(Config.load(config_file, {}))) as running:
        running.deployment.cluster.create_group("bank")
        for site in SITES:
            running.wait_for_store(site, "bank", timeout=60)
        with open_group("bank", deployment=running.deployment) as group:
            volume = group.create_volume("ledger", "1MiB")
            for name in ("older", "end-of-day"):
                volume.write(0, name.encode() * 5000)
                group.mark(name).wait(SITES, timeout=60)
        forget_group([running.deployment.config.sites["osaka"].redis.url], "bank")
        control = running.deployment.cluster.control

        def state() -> str:
            found = control.snapshot().get(status_key("bank", "osaka"))
            return found.state if isinstance(found, SiteStatus) else ""

        assert wait_until(lambda: state() == "NEEDS_REBUILD", timeout_s=60)
        status, plan = (tidelog(config_file, line, tmp_path) for line in look)
        assert status.returncode == 4 and "tidelog site rebuild osaka --group bank" in " ".join(status.stdout.split())
        assert plan.returncode == 0 and "from the log" in plan.stdout and "nothing was changed" in plan.stderr
        for line in choose:
            done = tidelog(config_file, line, tmp_path)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if "--from tokyo" in line:
                assert "copies older do not come back" in " ".join(done.stdout.split())
        assert state() == "NEEDS_REBUILD", "nothing was done yet"
        rebuild, listing, verify = do
        done = tidelog(config_file, rebuild, tmp_path)
        assert done.returncode == 0 and "loaded from tokyo" in " ".join(done.stderr.split()), done.stderr
        assert wait_until(lambda: tidelog(config_file, listing, tmp_path).returncode in (0, 3), timeout_s=60)
        done = tidelog(config_file, verify, tmp_path)
        assert done.returncode == 0, (done.stdout, done.stderr)
        store = open_store(running.deployment, "osaka", "bank")
        assert [copy.name for copy in store.copies()] == ["end-of-day"]
        store.close()
