"""The commands of docs/runbooks/rollback.md, on real servers, at sites whose part of the log is gone."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.documents.pages import SITES, commands, tidelog
from tests.faults.folded import all_equal, cut_back, halts, wait_until
from tidelog.consumers.access import open_group
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def test_rollback(config_file: Path, running: RunningDeployment, tmp_path: Path) -> None:
    """Looking says 4; the page's way ends with sites that follow the log, and what was lost in its place."""
    with open_group("bank", deployment=running.deployment) as group:
        ledger = group.create_volume("ledger", "1MiB")
        ledger.write(0, b"kept" * 3000)
        group.mark("end-of-day").wait(SITES, timeout=60)
        with closing(running.deployment.cluster.log(running.deployment.cluster.find_group("bank"))) as log:
            kept = log.bounds().end
        ledger.write(0, b"lost" * 2000)
        group.mark("gone").wait(SITES, timeout=60)
    cut_back(running.deployment, "bank", kept)
    with open_group("bank", deployment=running.deployment) as group:
        group.volume("ledger").write(0, b"new!" * 100)
    for site in SITES:
        halts(running.deployment, site, "bank", "LogDiverged")
    status, dry, back, stands, listing, changed, read, export, clone, drop_clone, drop = commands("rollback.md")
    assert tidelog(config_file, *status).returncode == 4
    assert tidelog(config_file, *dry).returncode == 0
    done = tidelog(config_file, *back)
    assert done.returncode == 0, done.stderr
    assert tidelog(config_file, *(word.replace("osaka", "tokyo") for word in back)).returncode == 0
    all_equal(running.deployment, "bank", SITES)
    wait_until(lambda: tidelog(config_file, *stands).returncode in (0, 5), "osaka streams")
    listed = tidelog(config_file, *listing)
    assert "lost-tail" in listed.stdout and "lost-gone" in listed.stdout, listed.stdout
    assert "ledger" in tidelog(config_file, *changed).stdout
    assert tidelog(config_file, *read).stdout == "lost" * 4
    place = str(tmp_path / "tail")
    assert tidelog(config_file, *(word.replace("/tmp/bank-lost-tail", place) for word in export)).returncode == 0
    for command in (clone, drop_clone, drop):
        done = tidelog(config_file, *command)
        assert done.returncode == 0, done.stderr
