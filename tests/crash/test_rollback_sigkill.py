"""SIGKILL of a roll back at every marked point: run again it ends, and the site is the fold of the log."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.folded import all_equal, cut_back
from tidelog.consumers.deployment import open_store
from tidelog.gateways.cli import main
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

BLOCK = 4096
BLOCKS = 1100  # in two steps
POINTS = [("after-send", 1), ("after-send", 2), ("before-finish", 1), ("after-finish", 1)]


def killed(config_path: Path, group: str, point: str, nth: int) -> int:
    """What the child ends with."""
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.rollback_child", str(config_path), group, point, str(nth)]
    done = subprocess.run(
        launcher + command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2]
    )
    return done.returncode


def test_a_roll_back_that_is_killed_is_run_again(
    group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """With no worker; each time another part of the log is lost."""
    deployment = tidelog_deployment.deployment
    tidelog_deployment.group(group_name)
    for number, (point, nth) in enumerate(POINTS):
        group = tidelog_deployment.group(group_name)
        volume = group.create_volume("data", BLOCK * BLOCKS)
        volume.write(0, bytes([number + 1]) * BLOCK * BLOCKS)
        group.mark(f"kept-{number}")
        group.flush()
        with closing(deployment.cluster.log(deployment.cluster.find_group(group_name))) as log:
            keep = log.bounds().end
        volume.write(BLOCK, bytes([number + 101]) * BLOCK * (BLOCKS - 2))
        group.mark(f"gone-{number}")
        group.close()
        tidelog_deployment.site("osaka")
        held = all_equal(deployment, group_name, ["osaka"])
        tidelog_deployment.stop_site("osaka")
        cut_back(deployment, group_name, keep)
        with closing(tidelog_deployment.group(group_name)) as other:
            other.volume("data").write(0, b"the new history")
            other.flush()
        assert killed(config_path, group_name, point, nth) == -signal.SIGKILL, f"{point} {nth} was not reached"
        again = ["-c", str(config_path), "site", "rollback", "osaka", "--group", group_name, "--yes"]
        assert main(again) == 0, (point, nth)
        tidelog_deployment.site("osaka")
        all_equal(deployment, group_name, ["osaka"])
        with closing(open_store(deployment, "osaka", group_name)) as store:
            tail = store.copy("lost-tail")
            assert tail.sequence == held.sequence
            found = {
                info.id: (info.name, info.block_size, store.read(info, 0, info.size, tail)) for info in tail.volumes
            }
            assert found == held.image(), (point, nth)
