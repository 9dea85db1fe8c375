"""`tidelog log trim`: what goes, what stays, and that everything goes on afterwards."""

import json

import pytest

from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.schemas.control import CopyFormed
from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")


def pass_time(deployment, seconds=120):
    """As if the receipts that there are were so much older."""
    control = deployment.cluster.control
    for record in control.snapshot().values():
        if isinstance(record, CopyFormed):
            control.publish(record.model_copy(update={"formed_us": record.formed_us - seconds * 1_000_000}))


def sites_of(cli):
    return json.loads(cli("site", "status", "--json").out)["sites"]


def plan_of(cli, *more):
    done = cli("log", "trim", "bank", "--dry-run", "--json", *more)
    assert done.code == 0, done.err
    return json.loads(done.out)["plan"]


@pytest.fixture
def trimmable(bank, deployment):
    """Copies one and two, each after a write, and a session since; all two minutes old."""
    for name in ("one", "two"):
        bank("volume", "write", "ledger", "-g", "bank", stdin=name.encode() * 1000)
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    bank("volume", "write", "ledger", "-g", "bank", stdin=b"behind" * 1000)
    assert wait_until(lambda: {site["lag_events"] for site in sites_of(bank)} == {0}, timeout_s=20)
    pass_time(deployment)
    return bank


def log_of(deployment):
    return deployment.cluster.log(deployment.cluster.find_group("bank"))


def test_a_plan_changes_nothing_and_a_trim_does_what_it_says(trimmable, deployment):
    plan = plan_of(trimmable)
    assert plan["base"]["name"] == "two" and plan["records"] > 0 and plan["trim_to_offset"] == plan["records"]
    assert log_of(deployment).bounds().start == 0
    refused = trimmable("log", "trim", "bank")
    assert refused.code == 2 and "--yes" in refused.err and log_of(deployment).bounds().start == 0
    done = trimmable("log", "trim", "bank", "--yes")
    assert done.code == 0 and f"{plan['records']} records deleted" in done.err
    assert log_of(deployment).bounds().start == plan["trim_to_offset"]
    assert log_of(deployment).record_at(plan["trim_to_offset"]).value[-16:].hex() == plan["base"]["seal"]
    again = trimmable("log", "trim", "bank", "--yes")
    assert again.code == 0 and log_of(deployment).bounds().start == plan["trim_to_offset"]


def test_everything_goes_on_afterwards(trimmable, deployment, sites):
    """Workers that begin anew, new sessions, copies; and a site that lost its store says what to do."""
    trimmable("log", "trim", "bank", "--yes")
    for site in SITES:
        sites.stop_site(site)
        sites.site(site)
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"afterwards")
        group.flush(applied_at=3, timeout=30)
        group.mark("three").wait(timeout=30)
    assert trimmable("pitc", "verify", "two", "-g", "bank", "--full").code == 0
    assert trimmable("pitc", "verify", "three", "-g", "bank", "--full").code == 0
    assert (
        trimmable("pitc", "read", "three", "ledger", "-g", "bank", "--offset", "0", "--length", "10").out
        == b"afterwards"
    )
    refused = trimmable("site", "rebuild", "osaka", "-g", "bank", "--from", "log", "--yes")
    assert refused.code == 2 and "nothing was erased" in refused.err and "--group bank --dry-run" in refused.err
    rebuilt = trimmable("site", "rebuild", "osaka", "-g", "bank", "--yes")
    assert rebuilt.code == 0 and "copy three" in rebuilt.err and "the log begins at offset" in rebuilt.err


def test_a_site_that_takes_the_copy_as_its_base_goes_on(trimmable, deployment, sites, tmp_path):
    """An export of the very copy that was trimmed to is enough."""
    assert trimmable("pitc", "export", "two", "-g", "bank", "--to", str(tmp_path / "two")).code == 0
    sites.stop_site("osaka")
    trimmable("log", "trim", "bank", "--yes")
    list(open_store(deployment, "osaka", "bank").erase())
    done = trimmable("pitc", "import", str(tmp_path / "two"), "--site", "osaka")
    assert done.code == 0, done.err
    sites.site("osaka")
    with open_group("bank", deployment=deployment) as group:
        group.flush(applied_at=3, timeout=30)
        group.mark("three").wait(timeout=30)
    assert trimmable("pitc", "verify", "three", "-g", "bank", "--full").code == 0


def test_a_site_that_is_behind_holds_it_back_and_is_named(trimmable, deployment, sites):
    sites.stop_site("london")
    assert trimmable("pitc", "create", "three", "-g", "bank", "--sites", "tokyo,osaka").code == 0
    trimmable("volume", "write", "ledger", "-g", "bank", stdin=b"x")
    pass_time(deployment)
    assert wait_until(lambda: plan_of(trimmable, "--without", "london")["base"]["name"] == "three", timeout_s=20)
    plan = plan_of(trimmable)
    assert plan["base"]["name"] == "two" and plan["needs"][0]["who"] == "site london"
    dry = trimmable("log", "trim", "bank", "--dry-run")
    assert "nothing was changed" in dry.err
    shown = dry.text
    assert "site london" in shown and "the newest copy that it has had for 60 s" in shown
    sites.site("london")


def test_within_the_margin_and_under_a_lock_it_stays(trimmable, deployment):
    assert plan_of(trimmable, "--margin", "10m")["base"] is None
    assert trimmable("pitc", "lock", "one", "-g", "bank", "--for", "1h").code == 0
    plan = plan_of(trimmable)
    assert plan["base"]["name"] == "one" and plan["needs"][0]["who"] == "copy one"
    trimmable("log", "trim", "bank", "--yes")
    assert log_of(deployment).bounds().start == plan["trim_to_offset"] > 0


def test_the_session_that_writes_keeps_its_opening(trimmable, deployment):
    with open_group("bank", deployment=deployment) as group:
        group.mark("three").wait(timeout=30)
        group.mark("four").wait(timeout=30)
        pass_time(deployment)
        plan = plan_of(trimmable)
        assert plan["base"]["name"] == "two"
        assert any(need["who"] == "the writer" for need in plan["needs"])
        trimmable("log", "trim", "bank", "--yes")
        group.volume("ledger").write(0, b"on")
        group.flush(applied_at=3, timeout=30)


def test_a_command_in_the_past_is_made_after_a_trim_that_kept_its_log(trimmable, deployment):
    """Trimmed again and again while the late copy is ordered and made: it is the same at all sites."""
    at = open_store(deployment, "tokyo", "bank").copy("two").timestamp_us - 1000
    from tidelog.clock import iso

    assert trimmable("pitc", "create", "late", "--groups", "bank", "--at", iso(at)).code == 0
    for _ in range(5):
        assert trimmable("log", "trim", "bank", "--yes").code == 0
    done = trimmable("pitc", "create", "behind", "-g", "bank", "--wait")
    assert done.code == 0
    assert wait_until(lambda: trimmable("pitc", "verify", "late", "-g", "bank").code == 0, timeout_s=30)
    assert trimmable("pitc", "verify", "late", "-g", "bank", "--full").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody",), 2, "no group nobody"),
        (("bank", "--without", "mars"), 2, "no site 'mars'"),
        (("bank", *(f"--without={site}" for site in SITES)), 2, "no site is left"),
        (("bank", "--margin", "soon"), 2, "soon"),
    ],
)
def test_what_cannot_be(bank, arguments, code, said):
    refused = bank("log", "trim", *arguments, "--yes")
    assert refused.code == code and said in refused.err


def test_a_group_without_copies_keeps_everything(bank):
    plan = plan_of(bank)
    assert plan["base"] is None and plan["needs"][0]["sequence"] == 0
    done = bank("log", "trim", "bank", "--yes")
    assert done.code == 0 and "nothing" in done.text
