"""`tidelog pitc lock`, `keep` and `retention`: what is refused, shown and explained; G14 on the command line."""

import json

import pytest

from tests.cli.conftest import SITES, TOML
from tidelog.clock import wall_us
from tidelog.consumers.access import open_group, read_group
from tidelog.gateways.cli.copy_tables import lock_text
from tidelog.testing.readiness import wait_until

LATER = "2999-01-01T00:00:00Z"
FIRST = "auto-20261125t180000z"


@pytest.fixture
def copied(bank):
    """With copies ``one`` and ``two`` at every site."""
    for name in ("one", "two"):
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    return bank


@pytest.fixture
def policy(config_file):
    """The group has a schedule, of which it keeps one copy, named ones included."""
    config_file.write_text(TOML + '[groups.bank]\nevery = "1h"\nkeep = {last = 1, named = true}\n')


def state_of(deployment):
    """Position and copies as the log has them."""
    state, head = read_group("bank", deployment)
    return head, state.copies()


def at_all_sites(sites, name, condition):
    groups = [sites.site(site).group("bank") for site in SITES]
    return wait_until(lambda: all(condition(group.copy(name)) for group in groups), timeout_s=10)


@pytest.mark.usefixtures("policy")
def test_a_locked_copy_is_dropped_by_no_command(copied, deployment):
    """Not by drop, not by retention, not with a live writer taken over; one sentence, and the time in it."""
    locked = copied("pitc", "lock", "one", "-g", "bank", "--for", "30d", "--json")
    until = json.loads(locked.out)["locked_until"]
    refused = copied("pitc", "drop", "one", "-g", "bank", "--take-over")
    assert refused.code == 2 and f"locked until {until}" in refused.err and "hint: " in refused.err
    for arguments in (("--for", "1d"), ("--until", until.replace("Z", "+00:01"))):
        shorter = copied("pitc", "lock", "one", "-g", "bank", *arguments)
        assert shorter.code == 2 and f"locked until {until}" in shorter.err
    retained = json.loads(copied("pitc", "retention", "-g", "bank", "--json").out)
    assert [(copy["name"], copy["decision"]) for copy in retained["copies"]] == [("one", "keep"), ("two", "keep")]
    assert [copy.name for copy in state_of(deployment)[1]] == ["one", "two"]


def test_rebuilding_a_site_brings_a_locked_copy_and_its_lock_back(copied, sites):
    """The one command that erases a store."""
    assert copied("pitc", "lock", "one", "-g", "bank", "--for", "30d").code == 0
    before = sites.site("osaka").group("bank")
    assert at_all_sites(sites, "one", lambda copy: copy.locked_until_us > 0)
    until_us = before.copy("one").locked_until_us
    sites.stop_site("osaka")
    assert copied("site", "rebuild", "osaka", "-g", "bank", "--yes").code == 0
    assert sites.site("osaka").group("bank").copy("one").locked_until_us == until_us


def test_a_lock_is_extended(copied, sites):
    """And is the same at every site."""
    assert copied("pitc", "lock", "one", "-g", "bank", "--for", "30d").code == 0
    extended = copied("pitc", "lock", "one", "-g", "bank", "--until", "2090-01-01t00:00:00z")
    assert extended.code == 0 and "2090-01-01T00:00:00.000000Z" in extended.text
    assert at_all_sites(sites, "one", lambda copy: copy.locked_until_us == 3_786_912_000_000_000)


def test_list_and_show_say_what_protects_a_copy(copied, sites):
    """From the primary's store; null in JSON where that does not answer."""
    assert copied("pitc", "lock", "one", "-g", "bank", "--until", "2090-01-01T00:00:00Z").code == 0
    assert copied("pitc", "keep", "two", "-g", "bank").code == 0
    assert at_all_sites(sites, "two", lambda copy: copy.kept)
    listed = copied("pitc", "list", "-g", "bank").text
    assert "locked until 2090-01-01T00:00:00.000000Z" in listed and "kept" in listed
    one, two = json.loads(copied("pitc", "list", "-g", "bank", "--json").out)["copies"]
    assert (one["locked_until"], one["kept"]) == ("2090-01-01T00:00:00.000000Z", False)
    assert (two["locked_until"], two["kept"]) == (None, True)
    shown = json.loads(copied("pitc", "show", "one", "-g", "bank", "--json").out)
    assert shown["locked_until"] == one["locked_until"] and shown["kept"] is False
    assert "protected" in copied("pitc", "show", "two", "-g", "bank").text
    log = copied("log", "show", "bank").text
    assert "CopyLocked" in log and "until 2090-01-01" in log and "CopyKept" in log
    kinds = {line["kind"]: line for line in map(json.loads, copied("log", "show", "bank", "--json").text.splitlines())}
    assert kinds["CopyLocked"]["until"] == one["locked_until"] and kinds["CopyKept"]["kept"] is True


def test_an_unreachable_primary_hides_locks_and_nothing_else(copied, deployment, monkeypatch):
    """The list comes from the control topic, and is shown all the same."""
    from tidelog.stores.redis_keyspace import RedisKeyspace

    monkeypatch.setattr(deployment, "keyspace", lambda *_: RedisKeyspace.from_url("redis://localhost:1"))
    listed = json.loads(copied("pitc", "list", "-g", "bank", "--json").out)["copies"]
    assert [(copy["name"], copy["locked_until"], copy["kept"]) for copy in listed] == [
        ("one", None, None),
        ("two", None, None),
    ]


def test_keep_is_taken_back(copied, deployment):
    """It says what it did."""
    assert "yes" in copied("pitc", "keep", "one", "-g", "bank").text
    released = copied("pitc", "keep", "one", "-g", "bank", "--release", "--json")
    assert json.loads(released.out) == {"version": 1, "group": "bank", "name": "one", "kept": False}
    assert not any(copy.kept for copy in state_of(deployment)[1])


@pytest.mark.usefixtures("policy")
def test_a_dry_run_explains_and_changes_nothing(copied, deployment):
    """Not an event in the log, no session opened, not while a writer is alive either; then the same is done."""
    assert copied("pitc", "create", "three", "-g", "bank").code == 0
    assert copied("pitc", "keep", "one", "-g", "bank").code == 0
    with open_group("bank", deployment=deployment, schedule=False) as group:
        planned = json.loads(copied("pitc", "retention", "-g", "bank", "--dry-run", "--json").out)
        assert group.session.confirmed.epoch == group.session.epoch
        group.volume("ledger").write(0, b"nobody has fenced me")
        group.flush()
        before = group.session.state.copies()
    assert state_of(deployment)[1] == before
    assert planned["dry_run"] is True
    assert [(c["name"], c["decision"], c["reasons"][0]) for c in planned["copies"]] == [
        ("one", "keep", "kept by hand"),
        ("two", "drop", "no rule keeps it: last 1"),
        ("three", "keep", "the newest copy"),
    ]
    text = copied("pitc", "retention", "-g", "bank", "--dry-run")
    assert "no rule keeps it: last 1" in text.text and "1 of 3 copies of group bank would be dropped" in text.err
    done = copied("pitc", "retention", "-g", "bank")
    assert done.code == 0 and "1 of 3 copies of group bank are dropped" in done.err
    assert [copy.name for copy in state_of(deployment)[1]] == ["one", "three"]
    again = json.loads(copied("pitc", "retention", "-g", "bank", "--json").out)
    assert {copy["decision"] for copy in again["copies"]} == {"keep"}


def test_named_copies_stay_by_default(copied, config_file):
    """Retention is for what the schedule made."""
    config_file.write_text(TOML + '[groups.bank]\nevery = "1h"\nkeep = {last = 1}\n')
    planned = json.loads(copied("pitc", "retention", "-g", "bank", "--dry-run", "--json").out)["copies"]
    assert planned[0]["decision"] == "keep" and "made by name" in planned[0]["reasons"][0]


@pytest.mark.usefixtures("policy")
def test_a_live_writer_is_not_fenced_unasked(copied, deployment):
    """As with every command that writes."""
    with open_group("bank", deployment=deployment, schedule=False):
        for command in (
            ("pitc", "lock", "one", "-g", "bank", "--for", "1d"),
            ("pitc", "keep", "one", "-g", "bank"),
            ("pitc", "retention", "-g", "bank"),
        ):
            refused = copied(*command)
            assert refused.code == 13 and "--take-over" in refused.err


BAD = (
    (("pitc", "lock", "one", "-g", "bank"), "--until or --for"),
    (("pitc", "lock", "one", "-g", "bank", "--until", LATER, "--for", "1d"), "--until or --for"),
    (("pitc", "lock", "one", "-g", "bank", "--until", "2020-01-01T00:00:00Z"), "would have ended"),
    (("pitc", "lock", "one", "-g", "bank", "--until", "2099-01-01T00:00:00"), "no offset"),
    (("pitc", "lock", "one", "-g", "bank", "--until", "tomorrow"), "no time"),
    (("pitc", "lock", "one", "-g", "bank", "--until", LATER), "hundred years"),
    (("pitc", "lock", "one", "-g", "bank", "--for", "0s"), "would have ended"),
    (("pitc", "lock", "one", "-g", "bank", "--for", "long"), "no duration"),
    (("pitc", "lock", "one", "-g", "bank", "--for", "99999999999999d"), "hundred years"),
    (("pitc", "lock", "never", "-g", "bank", "--for", "1d"), "never"),
    (("pitc", "keep", "never", "-g", "bank"), "never"),
    (("pitc", "keep", "one", "-g", "nowhere"), "nowhere"),
    (("pitc", "retention", "-g", "bank"), "no retention"),
    (("pitc", "retention", "-g", "nowhere", "--dry-run"), "no retention"),
    (("pitc", "create", FIRST, "-g", "bank"), "schedule"),
)


def test_bad_input(copied, deployment, subtests):
    """One sentence, exit code 2, and no copy is changed."""
    before = state_of(deployment)[1]
    for arguments, says in BAD:
        with subtests.test(" ".join(arguments)):
            result = copied(*arguments)
            assert result.code == 2, result.err
            errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1 and says in errors[0], result.err
            assert state_of(deployment)[1] == before


def test_a_copy_by_time_beside_a_marker_is_another_copy(bank):
    """In a group that stands still both are cut at one event: the lock is shown at the marker's, the clone at its own,
    in `list`, in `show`, and in both for programs."""
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "100ms").code == 0
    assert bank("pitc", "lock", "one", "-g", "bank", "--for", "30d").code == 0

    def copies() -> dict[str, dict]:
        return {copy["name"]: copy for copy in json.loads(bank("pitc", "list", "-g", "bank", "--json").text)["copies"]}

    def both() -> bool:
        found = copies()
        return found.keys() == {"one", "noon"} and found["noon"]["equal"] is True and found["one"]["locked_until"]

    assert wait_until(both, timeout_s=20)
    assert bank("pitc", "clone", "noon", "drill", "-g", "bank").code == 0
    assert bank("pitc", "keep", "one", "-g", "bank").code == 0
    assert wait_until(lambda: copies()["one"]["kept"], timeout_s=20)
    one, noon = copies()["one"], copies()["noon"]
    assert (one["sequence"], one["seal"]) == (noon["sequence"], noon["seal"])
    assert noon["locked_until"] is None and noon["kept"] is False
    assert one["held_by"] == [] and [held["holder"] for held in noon["held_by"]] == ["drill"]
    shown = {name: bank("pitc", "show", name, "-g", "bank").text for name in ("one", "noon")}
    assert "locked until" in shown["one"] and "drill" not in shown["one"]
    assert "locked until" not in shown["noon"] and "drill" in shown["noon"]
    for name in ("one", "noon"):
        assert bank("pitc", "verify", name, "-g", "bank").code == 0


def test_a_lock_that_has_ended_is_told_as_that():
    assert lock_text(wall_us() + 10_000_000).startswith("locked until")
    assert lock_text(wall_us() - 10_000_000).startswith("lock ended")
