"""SIGKILL of a promotion at every marked point, beside an application that writes on: the same command again ends it,
and nothing that was flushed is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.promote_child import PROMOTE_POINTS
from tests.faults.promoting import Application, compared
from tidelog.consumers.primary import chosen_primary
from tidelog.gateways.cli import main
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

SITES = ("tokyo", "osaka")
# Before and after each; of the waits for the site the second, when the writer has ended. Forced, no writer is asked.
POINTS = [(f"{when}-{name}", 2 if name == "applied" else 1) for name in PROMOTE_POINTS for when in ("before", "after")]
FORCED = [point for point in POINTS if not point[0].endswith("-end")]


def killed(config_path: Path, group: str, site: str, point: str, nth: int, *more: str) -> int:
    """What the child ends with."""
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.promote_child", str(config_path), group, site, point, str(nth), *more]
    done = subprocess.run(
        launcher + command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2]
    )
    return done.returncode


@pytest.mark.parametrize(("points", "more"), [(POINTS, ()), (FORCED, ("--force",))], ids=["planned", "forced"])
def test_a_promotion_that_is_killed_is_run_again(
    points: list[tuple[str, int]],
    more: tuple[str, ...],
    group_name: str,
    config_path: Path,
    tidelog_deployment: RunningDeployment,
) -> None:
    """The application writes between the two, wherever its reads are then."""
    deployment = tidelog_deployment.deployment
    deployment.cluster.create_group(group_name)
    for site in SITES:
        tidelog_deployment.wait_for_store(site, group_name)
    application = Application(deployment, group_name)
    application.writes_at("tokyo")
    for turn, (point, nth) in enumerate(points):
        site = SITES[(turn + 1) % 2]
        code = killed(config_path, group_name, site, point, nth, *more)
        assert code == -signal.SIGKILL, f"{point} {nth} was not reached: {code}"
        chosen = chosen_primary(deployment.cluster.control.snapshot(), deployment.cluster.find_group(group_name))
        application.writes_at(chosen.site if chosen is not None else "tokyo")
        assert main(["-c", str(config_path), "site", "promote", site, "--group", group_name, *more]) == 0, (point, nth)
        application.writes_at(site)
    application.stop()
    reference = compared(deployment, group_name, SITES, application.flushed)
    assert reference.epoch > len(points) and not reference.gap
