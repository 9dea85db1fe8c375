"""SIGKILL of a promotion at every marked point, beside an application that writes on: the same command again ends it,
and nothing that was flushed is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.promoting import Application, compared
from tidelog.consumers.primary import chosen_primary
from tidelog.gateways.cli import main
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SITES = ("tokyo", "osaka")
POINTS = [
    ("before-ask", 1),
    ("after-ask", 1),
    ("after-end", 1),
    ("before-applied", 2),
    ("before-open", 1),
    ("after-open", 1),
    ("after-record", 1),
    ("after-close", 1),
    ("after-withdraw", 1),
]


def killed(config_path: Path, group: str, site: str, point: str, nth: int) -> int:
    """What the child ends with."""
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.promote_child", str(config_path), group, site, point, str(nth)]
    done = subprocess.run(
        launcher + command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2]
    )
    return done.returncode


def test_a_promotion_that_is_killed_is_run_again(
    group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """The application writes between the two, wherever its reads are then."""
    deployment = tidelog_deployment.deployment
    deployment.cluster.create_group(group_name)
    for site in SITES:
        tidelog_deployment.wait_for_store(site, group_name)
    application = Application(deployment, group_name)
    application.writes_at("tokyo")
    for turn, (point, nth) in enumerate(POINTS):
        site = SITES[(turn + 1) % 2]
        code = killed(config_path, group_name, site, point, nth)
        assert code == -signal.SIGKILL, f"{point} {nth} was not reached: {code}"
        chosen = chosen_primary(deployment.cluster.control.snapshot(), deployment.cluster.find_group(group_name))
        application.writes_at(chosen.site if chosen is not None else "tokyo")
        assert main(["-c", str(config_path), "site", "promote", site, "--group", group_name]) == 0, (point, nth)
        application.writes_at(site)
    application.stop()
    reference = compared(deployment, group_name, SITES, application.flushed)
    assert reference.epoch > len(POINTS) and not reference.gap
