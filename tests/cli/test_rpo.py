"""`tidelog status`: what would be lost, whether somebody writes, which objective is missed, and what pacing does."""

import json
import time
from pathlib import Path

import pytest

from tests.cli.conftest import SITES, TOML
from tidelog.consumers.access import open_group
from tidelog.consumers.catalogue import SiteStanding
from tidelog.gateways.cli.standing import exit_code
from tidelog.gateways.standing.observer import Observer
from tidelog.schemas.reports import WriterStatus, writer_key
from tidelog.testing.readiness import wait_until

OBJECTIVES = """
[groups.bank]
rpo = "2s"
copy_rpo = "1h"
[groups.bank.pacing]
policy = "warn"
sites = ["osaka"]
max_lag_events = 10
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "tidelog.toml"
    path.write_text(TOML + OBJECTIVES)
    return path


@pytest.fixture
def writer(bank, deployment):
    """The application, idle after a write and a copy."""
    assert bank("status").code in (0, 5)
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x" * 5000)
        group.mark("one").wait(timeout=20)
        yield group


def group_of(cli):
    (group,) = json.loads(cli("status", "--json").out)["groups"]
    return group


def sites_of(cli):
    return {site["site"]: site for site in group_of(cli)["sites"]}


def test_an_idle_writer_is_alive_and_nothing_ages(bank, writer):
    begun = writer.session.confirmed.sequence
    assert wait_until(lambda: writer.session.confirmed.sequence > begun + 25, timeout_s=20)  # 25 heartbeats
    assert wait_until(lambda: bank("status").code == 0, timeout_s=20)
    found = group_of(bank)
    assert found["writer"]["state"] == "alive" and found["writer_alive"] and found["objectives_missed"] == []
    for site in found["sites"]:
        assert site["rpo_seconds"] == site["copy_rpo_seconds"] == 0 and site["rpo_objective_seconds"] == 2
    assert "writer alive (epoch" in bank("status").text


def test_a_change_that_is_in_no_copy_ages_there_alone(bank, writer):
    writer.volume("ledger").write(0, b"y")
    writer.flush(applied_at=3)
    # It is not known (None) until the site has reported behind the change.
    assert wait_until(
        lambda: all((site["not_copied_seconds"] or 0) > 0.5 for site in sites_of(bank).values()), timeout_s=20
    )
    assert bank("status").code == 0
    writer.mark("two").wait(timeout=20)
    assert wait_until(lambda: {site["not_copied_seconds"] for site in sites_of(bank).values()} == {0}, timeout_s=20)


def test_a_writer_that_was_closed_leaves_nothing_outside(bank):
    """The command that made the volume."""
    found = group_of(bank)
    assert found["writer"]["state"] == "closed" and not found["writer_alive"]
    assert "closed in good order" in bank("status").text
    assert wait_until(lambda: {site["rpo_seconds"] for site in sites_of(bank).values()} == {0}, timeout_s=20)
    assert bank("status").code == 0


def test_a_writer_that_vanished_is_an_alarm(bank, deployment):
    """Its last report says that it is open, as after a SIGKILL, and nothing has come since."""
    group = open_group("bank", deployment=deployment)
    control = deployment.cluster.control
    assert wait_until(lambda: control.snapshot()[writer_key("bank")].state == "OPEN", timeout_s=20)
    report = control.snapshot()[writer_key("bank")]
    group.close()
    assert isinstance(report, WriterStatus)
    control.publish(report)
    # The sites may be on their way yet, which is an alarm of its own.
    assert wait_until(lambda: "ALARM: the RPO of group bank" in bank("status").text, timeout_s=20)
    assert wait_until(lambda: {site["not_applied_seconds"] for site in sites_of(bank).values()} == {0}, timeout_s=20)
    shown, found = bank("status"), group_of(bank)
    assert shown.code == 5 and "NO WORD FROM THE WRITER" in shown.text
    assert found["writer"]["state"] == "silent" and found["writer"]["report"]["state"] == "OPEN"
    assert {site["not_applied_seconds"] for site in found["sites"]} == {0}
    assert all(site["not_logged_seconds"] > 2 for site in found["sites"])
    assert any("without a word from the writer" in missed for missed in found["objectives_missed"])


def test_a_site_that_has_stopped_lacks_nothing_until_something_is_written(bank, sites, writer, deployment):
    """Heartbeats go on without it, many more than are looked up one by one; then the age of the first write counts."""
    assert wait_until(lambda: bank("status").code == 0, timeout_s=20)
    sites.stop_site("osaka")
    begun = writer.session.confirmed.sequence
    assert wait_until(lambda: writer.session.confirmed.sequence > begun + 40, timeout_s=60)
    assert sites_of(bank)["osaka"]["state"] == "STOPPED" and sites_of(bank)["osaka"]["rpo_seconds"] == 0
    with Observer(deployment) as observer:
        for _ in range(2):
            assert observer.observe()[0].exposures["osaka"].rpo == 0
        before = time.time()
        writer.volume("ledger").write(0, b"y")
        writer.flush()
        assert observer.observe()[0].exposures["osaka"].rpo > 0
        assert wait_until(lambda: observer.observe()[0].exposures["osaka"].rpo > 0.5, timeout_s=20)
        assert observer.observe()[0].exposures["osaka"].rpo <= time.time() - before + 0.1
    assert sites_of(bank)["osaka"]["rpo_seconds"] > 0.5


def test_a_stopped_worker_misses_the_objective_there_alone(bank, sites, writer):
    sites.stop_site("osaka")
    writer.volume("ledger").write(0, b"y")
    shown = []

    def alarmed() -> bool:
        """Before that, what is not known yet of a site may be an alarm of its own."""
        shown[:] = [bank("status")]
        alarms = [line for line in shown[0].text.splitlines() if "ALARM" in line]
        return any("at osaka is" in line and "in the log and not applied" in line for line in alarms)

    assert wait_until(alarmed, timeout_s=20), shown[0].text
    assert shown[0].code == 5 and bank("site", "status", "osaka").code == 5
    assert wait_until(lambda: bank("site", "status", "tokyo").code == 0, timeout_s=20)
    sites.site("osaka")
    assert wait_until(lambda: bank("status").code == 0, timeout_s=20)


@pytest.mark.usefixtures("writer")
def test_pacing_that_fires_is_shown_and_remembered(bank, sites):
    sites.stop_site("osaka")
    assert wait_until(lambda: "PACING since" in bank("status").text, timeout_s=20)
    found = group_of(bank)["writer"]["pacing"]
    assert found["policy"] == "warn" and found["since"] and found["count"] == 1 and "osaka is" in found["reason"]
    sites.site("osaka")
    assert wait_until(lambda: group_of(bank)["writer"]["pacing"]["since"] is None, timeout_s=20)
    assert "pacing (warn) has fired once in this session; the last time, osaka is" in bank("status").text


def standing(state):
    from tests.recovery.test_rpo import NOW, site

    status = None if state is None else site(state=state)
    return SiteStanding("osaka", "bank", True, status, 0.5, False, 0, 0.0, float(NOW))


@pytest.mark.parametrize(
    ("states", "alarms", "missed", "code"),
    [
        (["STREAMING"], [], [], 0),
        (["STREAMING"], [], ["rpo"], 5),
        (["STOPPED"], [], [], 3),
        ([None], [], [], 3),
        (["STOPPED"], [], ["rpo"], 5),
        (["HALTED", "STOPPED"], [], ["rpo"], 4),
        (["HALTED"], ["digests differ"], ["rpo"], 3),
    ],
)
def test_which_exit_code_wins(states, alarms, missed, code):
    assert exit_code([standing(state) for state in states], alarms, missed) == code


def test_a_group_that_nobody_has_written_to(cli):
    cli("group", "create", "bank")
    found = group_of(cli)
    assert found["writer"]["state"] == "none" and {site["rpo_seconds"] for site in found["sites"]} == {None}
    assert cli("status").code == 5  # an objective that nobody can say is met
    assert [site["site"] for site in found["sites"]] == list(SITES)
