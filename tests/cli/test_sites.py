"""`tidelog site` and `status`: what an operator sees, and the rebuild."""

import json

import pytest

from tidelog.consumers.deployment import open_store
from tidelog.errors import StoreUnavailable
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")


def state_of(cli, site="osaka"):
    document = json.loads(cli("site", "status", site, "--json").out)
    return document["sites"][0]["state"]


def test_status_of_sites_that_are_well(bank):
    assert wait_until(lambda: bank("status").text.count("STREAMING") == 3, timeout_s=10)
    shown = bank("status")
    assert shown.code == 0 and "bank" in shown.text
    document = json.loads(bank("status", "--json").out)
    assert document["version"] == 1
    (group,) = document["groups"]
    assert {site["state"] for site in group["sites"]} == {"STREAMING"}
    assert group["newest"]["sequence"] == 2
    assert {site["lag_events"] for site in group["sites"]} == {0}


def test_a_site_that_never_ran_and_one_that_stopped_are_degraded(cli, sites):
    cli("group", "create", "bank")
    assert cli("status").code == 3
    assert state_of(cli) == "UNKNOWN"
    sites.wait_for_store("osaka", "bank")
    assert wait_until(lambda: state_of(cli) == "STREAMING", timeout_s=10)
    sites.stop_site("osaka")
    assert state_of(cli) == "STOPPED"
    assert cli("site", "status", "osaka").code == 3


def test_silence_is_shown_whatever_was_said_last(bank, sites, deployment):
    sites.stop_site("osaka")
    control = deployment.cluster.control
    last = control.snapshot()[status_key("bank", "osaka")]
    assert isinstance(last, SiteStatus)
    control.publish(last.model_copy(update={"state": "STREAMING", "reported_us": last.reported_us - 10_000_000}))
    assert state_of(bank) == "SILENT"
    assert bank("status").code == 3


def test_a_halted_site_has_its_own_exit_code_and_says_what_to_do(bank, deployment):
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    log.appender().send(b"this is no event", lambda *_: None)
    assert wait_until(lambda: bank("site", "status", "osaka").code == 4, timeout_s=10)  # another may halt before
    assert bank("status").code == 4
    shown = bank("site", "status", "osaka")
    assert shown.code == 4 and "HALTED" in shown.text and "CorruptEvent" in shown.text and "hint" in shown.text


def test_a_site_whose_redis_is_down_is_degraded(bank, sites, deployment, monkeypatch):
    """Its worker is alive and tries again, but the site gets no further."""
    assert wait_until(lambda: bank("status").code == 0, timeout_s=10)
    real = deployment.keyspace

    def down(site, group):
        if site == "osaka":
            raise StoreUnavailable("Redis does not answer")
        return real(site, group)

    sites.stop_site("osaka")
    monkeypatch.setattr(deployment, "keyspace", down)
    sites.site("osaka")
    assert wait_until(lambda: "StoreUnavailable" in bank("status").text, timeout_s=10)
    assert state_of(bank) == "WAITING"
    for command in (("status",), ("site", "status", "osaka")):
        shown = bank(*command)
        assert shown.code == 3 and "StoreUnavailable: Redis does not answer" in shown.text


def test_a_rebuild_needs_a_confirmation(bank):
    refused = bank("site", "rebuild", "osaka", "-g", "bank")
    assert refused.code == 2 and "--yes" in refused.err


def test_a_dry_run_changes_nothing(bank, deployment):
    before = open_store(deployment, "osaka", "bank").position()
    plan = json.loads(bank("site", "rebuild", "osaka", "-g", "bank", "--dry-run", "--json").out)["plan"]
    assert plan["erase"] is True and plan["until_sequence"] == before.head.sequence
    assert bank("site", "rebuild", "osaka", "-g", "bank", "--dry-run").code == 0
    assert open_store(deployment, "osaka", "bank").position() == before


@pytest.mark.parametrize("worker_runs", [True, False])
def test_a_rebuilt_site_has_the_same_copies_again(bank, sites, worker_runs):
    bank("volume", "write", "ledger", "-g", "bank", stdin=b"x" * 100_000)
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    before = sites.site("osaka").group("bank").copy("one").digest()
    if not worker_runs:
        sites.stop_site("osaka")
    done = bank("site", "rebuild", "osaka", "--group", "bank", "--yes")
    assert done.code == 0 and "equal" in done.text and "keys erased" in done.err
    with_store = open_store(sites.deployment, "osaka", "bank")
    assert with_store.rebuilding() is None
    assert with_store.verify(with_store.copy("one")) == before
    assert bank("pitc", "verify", "one", "-g", "bank", "--full").code == 0


def test_a_rebuild_in_json(bank):
    bank("pitc", "create", "one", "-g", "bank", "--wait")
    document = json.loads(bank("site", "rebuild", "london", "-g", "bank", "--yes", "--json").out)
    assert document["version"] == 1
    assert [copy["equal"] for copy in document["report"]["copies"]] == [True]


def test_a_rebuild_that_gives_other_bytes_than_promised_is_loud(bank, deployment):
    bank("pitc", "create", "one", "-g", "bank", "--wait")
    control = deployment.cluster.control
    for key, record in control.snapshot().items():
        if key.startswith("copy/bank/") and key.endswith("/tokyo"):
            control.publish(record.model_copy(update={"digest": b"\xee" * 16}))
    done = bank("site", "rebuild", "london", "-g", "bank", "--yes")
    assert done.code == 3 and "DIFFERS" in done.text and "hint" in done.err
