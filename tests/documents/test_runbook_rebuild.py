"""docs/runbooks/rebuild.md: its commands, as they stand, on real servers, for a site whose Redis was emptied under its
worker."""

import subprocess
from pathlib import Path

import pytest

from tests.clean_stores import forget_group
from tests.documents.pages import SITES, blocks, tidelog
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def test_the_page(config_file: Path, running: RunningDeployment, tmp_path: Path) -> None:
    look, choose, do = blocks("rebuild.md")

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return tidelog(config_file, *line.replace("/tmp/", f"{tmp_path}/").split()[1:])

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
    status, plan = (run(line) for line in look)
    assert status.returncode == 4 and "tidelog site rebuild osaka --group bank" in " ".join(status.stdout.split())
    assert plan.returncode == 0 and "from the log" in plan.stdout and "nothing was changed" in plan.stderr
    for line in choose:
        done = run(line)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if "--from tokyo" in line:
            assert "copies older do not come back" in " ".join(done.stdout.split())
    assert state() == "NEEDS_REBUILD", "nothing was done yet"
    rebuild, listing, verify = do
    assert run(listing).stdout.count("emptied") == 2, "its receipts are of no copies"
    done = run(rebuild)
    assert done.returncode == 0 and "loaded from tokyo" in " ".join(done.stderr.split()), done.stderr
    assert wait_until(lambda: "waiting" not in run(listing).stdout, timeout_s=60)
    done = run(listing)
    assert done.returncode == 0 and done.stdout.count("begins later") == 1 and "emptied" not in done.stdout
    done = run(verify)
    assert done.returncode == 0, (done.stdout, done.stderr)
    store = open_store(running.deployment, "osaka", "bank")
    assert [copy.name for copy in store.copies()] == ["end-of-day"]
    store.close()
