"""Sites rebuilt from one another on real servers, their workers running, while writers go on and copies are dropped."""

import json
import re
import uuid
from pathlib import Path

import pytest

from tests.faults.folded import Records, all_equal, records_of
from tests.faults.test_real_resync import BLOCK, BLOCKS, Traffic
from tidelog.consumers.deployment import open_store
from tidelog.gateways.cli import main
from tidelog.producers.group import Group
from tidelog.producers.log import Log
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_report import Phase
from tidelog.recovery.rebuild_survey import survey
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.fixtures import SITES
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def group(running: RunningDeployment) -> Group:
    """With copy ``one`` of some MiB at all sites, and writes behind it."""
    group = running.group(f"g-{uuid.uuid4().hex[:12]}")
    for site in SITES:
        running.wait_for_store(site, group.name)
    volume = group.create_volume("ledger", BLOCKS * BLOCK)
    volume.write(0, bytes(range(1, 256)) * (BLOCK * 1900 // 255))
    group.mark("one").wait(timeout=60)
    volume.write(1234 * BLOCK, b"over what the copy holds" * 200)
    group.flush()
    return group


def log_of(running: RunningDeployment, name: str) -> Log:
    return running.deployment.cluster.log(running.deployment.cluster.find_group(name))


def goes_on(traffic: Traffic, writes: int) -> None:
    """Waits until so many more are flushed."""
    before = traffic.written
    assert wait_until(lambda: traffic.written >= before + writes, timeout_s=60)


def test_from_a_site_that_drops_the_copy_meanwhile_under_traffic(running: RunningDeployment, group: Group) -> None:
    """Every site ends as the fold of the log, with all copies since the base, byte for byte."""
    deployment, name = running.deployment, group.name
    with Traffic(group) as traffic:
        assert wait_until(lambda: traffic.written > 100, timeout_s=60)
        plan = plan_rebuild(survey(deployment, "london", name, Wanted("tokyo", "one")))
        done, dropped = Rebuild(deployment, plan), False
        for progress in done:
            if progress.phase is Phase.LOADING and not dropped:
                dropped = True
                tokyo = open_store(deployment, "tokyo", name)
                assert ["rebuild by site london" in str(hold) for hold in tokyo.holds()] == [True]
                group.drop_copy("one")
                goes_on(traffic, 20)
                tokyo.close()
        assert dropped and done.report.keys_erased > 0
        goes_on(traffic, 400)
    group.mark("end").wait(timeout=60)
    all_equal(deployment, name, SITES)


def test_a_site_whose_log_is_gone_names_the_command_that_heals_it(
    running: RunningDeployment, group: Group, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Down while the log is trimmed past it: `NEEDS_REBUILD`; the command of the hint, as it stands, and it goes on."""
    name = group.name
    running.stop_site("london")
    trimmed: Records = ()
    with Traffic(group) as traffic:
        assert wait_until(lambda: traffic.written > 100, timeout_s=60)
        copy = group.mark("two")
        copy.wait(["tokyo", "osaka"], timeout=60)
        log = log_of(running, name)
        begins = log.bounds().end - 20 if log.bounds().end > 40 else 20
        trimmed = [one for one in records_of(running.deployment, name) if one[0] < begins]
        log.trim(begins)
        newest = group.mark("three")
        newest.wait(["tokyo", "osaka"], timeout=60)
        running.site("london")
        control = running.deployment.cluster.control

        def status() -> SiteStatus:
            found = control.snapshot()[status_key(name, "london")]
            assert isinstance(found, SiteStatus)
            return found

        assert wait_until(lambda: status().state == "NEEDS_REBUILD", timeout_s=60)
        (named,) = re.findall(r"tidelog (site rebuild .*)$", status().hint)
        command = ["-c", str(config_file), *named.split()]
        capsys.readouterr()
        assert main([*command, "--dry-run", "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)["plan"]
        assert plan["from"]["kind"] == "site" and plan["from"]["site"] in ("tokyo", "osaka")
        assert "one" in plan["copies_lost"] and plan["seconds_estimated"] > 0
        assert status().state == "NEEDS_REBUILD", "a dry run changes nothing"
        assert main([*command, "--yes", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)["report"]
        assert report["bytes_loaded"] > 0 and all(copy["equal"] for copy in report["copies"])
        log.close()
    group.mark("end").wait(timeout=60)
    held = [running.site(site).group(name) for site in SITES]
    names = [copy.name for copy in held[2].copies()]
    assert "end" in names and "one" not in names
    for copy in held[2].copies():
        assert len({site.copy(f"#{copy.sequence}").digest() for site in held}) == 1
    all_equal(running.deployment, name, ["tokyo", "osaka"], trimmed=trimmed)
    all_equal(running.deployment, name, ["london"], since=held[2].copies()[0].sequence, trimmed=trimmed)


def test_a_source_that_is_down(running: RunningDeployment, group: Group, config_file: Path, tmp_path: Path) -> None:
    """Named, it ends with 12, and nothing was erased; unnamed, the plan says why it is not taken."""
    url = running.deployment.config.sites["tokyo"].redis.url
    down = tmp_path / "down.toml"
    down.write_text(config_file.read_text().replace(url, "redis://127.0.0.1:1"))
    before = running.site("osaka").group(group.name).position
    command = ["-c", str(down), "site", "rebuild", "osaka", "-g", group.name, "--yes"]
    assert main([*command, "--from", "tokyo"]) == 12
    assert running.site("osaka").group(group.name).position.head.sequence >= before.head.sequence
    assert main([*command, "--from", "london", "--copy", "one"]) == 0
    found = survey(running.deployment, "osaka", group.name)
    assert found.store is not None and found.store.rebuilding is None
    all_equal(running.deployment, group.name, SITES)
