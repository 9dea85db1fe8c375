"""`tidelog status` where the log lacks what a site has applied: plain words, and no figures that mean nothing."""

import json

import pytest

from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")


@pytest.fixture
def written(bank):
    """Five writes, each a command with a session of its own, at every site."""
    for index in range(5):
        assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"%d" % index * 5000).code == 0
    newest = documents(bank)[0]["newest"]["sequence"]
    assert wait_until(lambda: reported(bank) == dict.fromkeys(SITES, newest), timeout_s=20)
    return bank


def documents(cli):
    (group,) = json.loads(cli("status", "--json").out)["groups"]
    return group, {site["site"]: site for site in group["sites"]}


def reported(cli):
    """The sequences at which the sites have said that they are."""
    return {name: site["sequence"] for name, site in documents(cli)[1].items()}


@pytest.mark.parametrize("runs", [True, False])
def test_a_log_that_was_cut_back_below_what_sites_have_applied(written, sites, deployment, runs):
    """The workers have not noticed, or do not run. London had not come so far when it was stopped."""
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    sites.stop_site("london")
    shared = log.bounds().end
    before = documents(written)[0]["newest"]["sequence"]
    for text in (b"lost", b"too"):
        assert written("volume", "write", "ledger", "-g", "bank", stdin=text).code == 0
    newest = documents(written)[0]["newest"]
    there = dict.fromkeys(SITES[:2], newest["sequence"]) | {"london": before}
    assert wait_until(lambda: reported(written) == there, timeout_s=20)
    for site in SITES[:2] if not runs else ():
        sites.stop_site(site)
    log.truncate(shared, noticed=False)
    group, found = documents(written)
    assert group["newest"]["sequence"] == before and group["newest"]["epoch"] < newest["epoch"]
    assert (found["london"]["state"], found["london"]["lag_events"]) == ("STOPPED", 0)
    for site in SITES[:2]:
        told = found[site]
        assert runs or told["reported_state"] == "STOPPED"
        assert told["state"] == ("DIVERGED" if told["reported_state"] != "HALTED" else "HALTED")  # if it has noticed
        parted = told["state"] == "DIVERGED"
        assert told["lag_events"] is told["lag_seconds"] is told["rpo_seconds"] is told["not_applied_seconds"] is None
        assert told["reason"].startswith("LogDiverged: it has applied sequence" if parted else "LogDiverged")
        assert "the log ends" in told["reason"] or not parted
        assert f"tidelog site rollback {site} --group bank" in told["hint"] or not parted
    for command in (("status",), ("site", "status", "osaka")):
        shown = written(*command)
        assert shown.code == 4 and "LogDiverged" in shown.text
        assert "no writer yet" not in shown.text


def test_another_event_in_its_place(written, sites, deployment):
    """The log has grown again since; and a site that says itself that it has halted says why, with no lag."""
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    for site in SITES:
        sites.stop_site(site)
    end = log.bounds().end
    log.truncate(end - 4, noticed=False)
    for _ in range(8):
        log.put(log.record_at(end - 5).value)  # redelivered: it counts for nothing
    _, found = documents(written)
    assert {site["state"] for site in found.values()} == {"DIVERGED"}
    assert "the log has another one there" in found["osaka"]["reason"]
    sites.site("osaka")
    assert sites.deployment is not None

    def halted():
        site = documents(written)[1]["osaka"]
        return site if site["state"] == "HALTED" else None

    assert wait_until(halted, timeout_s=10)
    assert halted()["lag_events"] is None and "LogDiverged: the record of the head" in halted()["reason"]
