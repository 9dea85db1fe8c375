"""The commands of docs/runbooks/resync.md, as they stand, on real servers, beside running workers and after damage."""

from pathlib import Path

import pytest
import redis

from tests.documents.pages import SITES, commands, tidelog
from tidelog.consumers.access import open_group
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def test_resync(config_file: Path, running: RunningDeployment) -> None:
    """The first look says 3; after the resync all say 0."""
    look, dry, mend, again, listing = commands("resync.md")
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
