"""`tidelog site rollback`: what is shown, what is refused, and what can be done with what was lost."""

import json

import pytest

from tidelog.consumers.deployment import open_store
from tidelog.testing.readiness import wait_until

COMMAND = ("site", "rollback", "osaka", "-g", "bank")


def log_of(deployment):
    return deployment.cluster.log(deployment.cluster.find_group("bank"))


def write(bank, text, name):
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=text * 1000).code == 0
    assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0


def state(bank):
    return json.loads(bank("site", "status", "osaka", "--json").out)["sites"][0]["state"]


@pytest.fixture
def diverged(bank, sites, deployment):
    """Copies kept, and lost-1 and lost-2, whose part of the log is gone; a writer went on, and osaka has halted."""
    write(bank, b"kept", "kept")
    end = log_of(deployment).bounds().end
    write(bank, b"gone-", "gone")
    write(bank, b"gone--", "gone-too")
    for site in ("tokyo", "london"):
        sites.stop_site(site)
    log_of(deployment).truncate(end)
    assert wait_until(lambda: state(bank) == "HALTED", timeout_s=20)
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"new" * 100).code == 0
    return bank


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(diverged, deployment):
    before = deployment.keyspace("osaka", "bank").snapshot()
    shown = diverged(*COMMAND, "--dry-run")
    assert shown.code == 0
    for said in ("lost tail", "to copy kept", "gone (sequence", "gone-too (sequence", "lost-tail", "replays"):
        assert said in shown.text, shown.text
    plan = json.loads(diverged(*COMMAND, "--dry-run", "--json").out)["plan"]
    assert plan["way"] == "roll back" and plan["copy"]["name"] == "kept"
    assert [copy["name"] for copy in plan["lost_copies"]] == ["gone", "gone-too"]
    assert plan["lost_tail"]["last_sequence"] == plan["position"]["sequence"]
    assert plan["lost_tail"]["first_sequence"] == plan["common"]["sequence"] + 1
    after = deployment.keyspace("osaka", "bank").snapshot()
    assert {key: value for key, value in after.items() if not key.endswith(b"digests")} == {
        key: value for key, value in before.items() if not key.endswith(b"digests")
    }


def test_nobody_is_there_to_confirm(diverged, deployment):
    refused = diverged(*COMMAND)
    assert refused.code == 2 and "--yes" in refused.err
    assert open_store(deployment, "osaka", "bank").rebuilding() is None


def test_what_was_lost_is_read_compared_exported_cloned_and_dropped(diverged, tmp_path):
    done = diverged(*COMMAND, "--yes")
    assert done.code == 0 and "rolled back" in done.err
    assert wait_until(lambda: state(diverged) == "STREAMING", timeout_s=20)
    at = ("-g", "bank", "--site", "osaka")
    assert diverged("volume", "read", "ledger", *at, "--length", "300").out == b"new" * 100
    assert diverged("pitc", "read", "kept", "ledger", *at, "--length", "4").out == b"kept"
    assert diverged("pitc", "read", "lost-tail", "ledger", *at, "--length", "6").out == b"gone--"
    assert diverged("pitc", "read", "lost-gone", "ledger", *at, "--length", "6").out == b"gone-g"
    assert diverged("pitc", "read", "gone", "ledger", *at).code == 2
    changed = json.loads(diverged("pitc", "diff", "kept", "lost-tail", *at, "--json").out)
    assert [volume["name"] for volume in changed["volumes"]] == ["ledger"]
    assert diverged("pitc", "export", "lost-tail", *at, "--to", str(tmp_path / "tail")).code == 0
    assert diverged("export", "verify", str(tmp_path / "tail")).code == 0
    assert diverged("pitc", "clone", "lost-tail", "salvage", *at).code == 0
    listed = diverged("pitc", "list", "-g", "bank")
    assert listed.text.count("lost history at osaka") == 3 and "lost-gone-too" in listed.text
    document = json.loads(diverged("pitc", "list", "-g", "bank", "--json").out)
    assert [copy["name"] for copy in document["lost"]] == ["lost-gone", "lost-gone-too", "lost-tail"]
    assert document["alarms"] == []

    assert "clone drop salvage" in diverged("pitc", "drop", "lost-tail", *at).err
    assert diverged("clone", "drop", "salvage", *at).code == 0
    assert diverged("pitc", "archive", "lost-tail", *at, "--to", str(tmp_path)).code == 2
    assert diverged("pitc", "drop", "kept", *at).code == 2
    for name in ("lost-tail", "lost-gone", "lost-gone-too"):
        dropped = diverged("pitc", "drop", name, *at, "--json")
        told = {"version": 1, "group": "bank", "name": name, "site": "osaka", "dropped": True}
        assert (dropped.code, json.loads(dropped.out)) == (0, told)
    assert json.loads(diverged("pitc", "list", "-g", "bank", "--json").out)["lost"] == []


def test_again_there_is_nothing_to_do(diverged):
    assert diverged(*COMMAND, "--yes").code == 0
    again = diverged(*COMMAND, "--yes", "--json")
    assert again.code == 0 and json.loads(again.out)["plan"]["way"] == "nothing"


def test_where_no_copy_is_in_the_log_the_store_is_erased_and_that_is_said(bank, sites, deployment, tmp_path):
    """After an export of what was there, if one is asked for."""
    write(bank, b"old", "old")
    for site in ("tokyo", "london"):
        sites.stop_site(site)
    log_of(deployment).recreate()
    assert wait_until(lambda: state(bank) == "HALTED", timeout_s=20)
    assert bank("volume", "create", "other", "-g", "bank", "--size", "1MiB").code == 0
    shown = bank(*COMMAND, "--dry-run")
    assert shown.code == 0 and "erases" in shown.text and "--export" in shown.text
    refused = bank(*COMMAND)
    assert refused.code == 2
    done = bank(*COMMAND, "--yes", "--export", str(tmp_path / "tail"))
    assert done.code == 0, done.err
    assert bank("export", "verify", str(tmp_path / "tail")).code == 0
    refused = bank("pitc", "import", str(tmp_path / "tail"), "--site", "london")
    assert refused.code == 2 and "lost history" in refused.err
    store = open_store(deployment, "osaka", "bank")
    assert [volume.name for volume in store.volumes()] == ["other"] and store.copies(lost=True) == []


def test_what_it_refuses(bank):
    """A site that is not there, and options that have no meaning here."""
    assert bank("site", "rollback", "nowhere", "-g", "bank").code == 2
    assert bank("site", "rollback", "osaka", "-g", "none").code == 2
    assert bank(*COMMAND, "--drop-clones").code == 2
