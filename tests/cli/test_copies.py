"""`tidelog pitc`: copies made, shown, proved equal, exported; a difference is loud."""

import json
import os
from pathlib import Path

import pytest

from tidelog.consumers.deployment import open_store
from tidelog.gateways.cli import copy_images
from tidelog.schemas.control import CopyFormed
from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")


@pytest.fixture
def copied(bank):
    """With a copy ``one`` at every site, of some data."""
    assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "5000", stdin=os.urandom(20000)).code == 0
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    return bank


def lie(deployment, site="osaka"):
    """Makes a site's receipt say another digest."""
    control = deployment.cluster.control
    for record in control.snapshot().values():
        if isinstance(record, CopyFormed) and record.site == site:
            control.publish(record.model_copy(update={"digest": b"\xee" * 16}))


def damage(deployment, site, volume="ledger"):
    """Flips a block of a site's store behind its back."""
    store = open_store(deployment, site, "bank")
    info = store.volume(volume)
    key = store._keys.block_format(info.id) % 2
    store._keyspace.transact([(b"SET", key, b"\x55" * 4096)])


def test_create_shows_who_has_answered(copied):
    made = json.loads(copied("pitc", "create", "two", "-g", "bank", "--sites", "osaka,london", "--json").out)
    assert made["version"] == 1 and made["missing"] == []
    assert len({made["digests"][site] for site in ("osaka", "london")}) == 1


def test_waiting_for_a_site_that_is_away_is_partial(copied, sites):
    sites.stop_site("london")
    late = copied("pitc", "create", "two", "-g", "bank", "--wait", "--timeout", "500ms")
    assert late.code == 3
    assert "london" in late.err and "osaka, tokyo" in late.err
    listed = copied("pitc", "list", "-g", "bank")
    assert listed.code == 0 and "pending" in listed.text and "waiting" in listed.text


def test_a_name_in_use_is_refused(copied):
    again = copied("pitc", "create", "one", "-g", "bank")
    assert again.code == 2 and "exists" in again.err


def test_list_in_json_has_digests_in_full(copied):
    listed = json.loads(copied("pitc", "list", "-g", "bank", "--json").out)
    (one,) = listed["copies"]
    assert one["equal"] is True and one["name"] == "one"
    assert {len(one["sites"][site]["digest"]) for site in SITES} == {32}


def test_digests_that_differ_are_an_alarm_everywhere(copied, deployment):
    lie(deployment)
    listed = copied("pitc", "list", "-g", "bank")
    assert listed.code == 3 and "ALARM" in listed.err and "DIFFERS" in listed.text
    assert json.loads(copied("pitc", "list", "-g", "bank", "--json").out)["alarms"]
    assert copied("pitc", "show", "one", "-g", "bank").code == 3
    status = copied("status")
    assert status.code == 3 and "ALARM" in status.text


def test_show_names_volumes_and_receipts(copied):
    shown = copied("pitc", "show", "one", "-g", "bank")
    assert shown.code == 0 and "ledger" in shown.text and "osaka" in shown.text
    document = json.loads(copied("pitc", "show", "one", "-g", "bank", "--json").out)
    assert [volume["name"] for volume in document["volumes"]] == ["ledger"]
    by_number = json.loads(copied("pitc", "show", f"#{document['sequence']}", "-g", "bank", "--json").out)
    assert by_number["seal"] == document["seal"]


def test_read_gives_the_bytes_of_the_copy_not_of_now(copied):
    before = copied("pitc", "read", "one", "ledger", "-g", "bank", "--offset", "4KiB", "--length", "8KiB").out
    copied("volume", "write", "ledger", "-g", "bank", "--offset", "4KiB", stdin=b"later" * 1000)
    assert len(before) == 8192
    at_london = copied(
        "pitc", "read", "one", "ledger", "-g", "bank", "--offset", "4096", "--length", "8192", "-s", "london"
    )
    assert at_london.out == before


def test_export_is_whole_verified_and_sparse(copied, tmp_path: Path):
    place = tmp_path / "export"
    raw = ("pitc", "export", "one", "-g", "bank", "--raw", "all", "--to", str(place))
    assert copied(*raw, "--site", "osaka").code == 0
    manifest = json.loads((place / "manifest.json").read_text())
    (volume,) = manifest["volumes"]
    image = place / volume["image"]
    assert image.read_bytes() == copied("pitc", "read", "one", "ledger", "-g", "bank").out
    assert image.stat().st_size == volume["size"] > image.stat().st_blocks * 512
    listed = json.loads(copied("pitc", "list", "-g", "bank", "--json").out)["copies"][0]
    assert manifest["digest"] == listed["sites"]["tokyo"]["digest"] and manifest["seal"] == listed["seal"]
    assert copied(*raw).code == 2


def test_an_export_that_is_not_what_the_site_says_is_not_kept(copied, deployment, tmp_path: Path):
    damage(deployment, "osaka")
    place = tmp_path / "export"
    refused = copied("pitc", "export", "one", "-g", "bank", "--site", "osaka", "--to", str(place), "--raw", "all")
    assert refused.code == 3 and "digest" in refused.err
    assert not place.exists() and not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_an_interrupted_export_leaves_nothing(copied, tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(copy_images, "image_digest", interrupted)
    before = set(tmp_path.iterdir())
    result = copied("pitc", "export", "one", "-g", "bank", "--to", str(tmp_path / "export"), "--raw", "all")
    assert (result.code, result.err.strip()) == (130, "interrupted")
    assert set(tmp_path.iterdir()) == before


def test_verify_in_full_reads_the_blocks_not_the_receipts(copied, deployment):
    good = copied("pitc", "verify", "one", "-g", "bank", "--full")
    assert good.code == 0 and good.text.count("as its receipt says") == 3
    damage(deployment, "osaka")
    assert copied("pitc", "verify", "one", "-g", "bank", "--full", "--site", "tokyo").code == 0
    bad = copied("pitc", "verify", "one", "-g", "bank", "--full")
    assert bad.code == 3 and "DIFFERS" in bad.text and "osaka" in bad.err
    document = json.loads(copied("pitc", "verify", "one", "-g", "bank", "--full", "--json").out)
    assert document["equal"] is False


def test_drop_reaches_every_site(copied, sites):
    dropped = copied("pitc", "drop", "one", "-g", "bank", "--json")
    told = {"version": 1, "group": "bank", "name": "one", "site": None, "dropped": True}
    assert (dropped.code, json.loads(dropped.out)) == (0, told)
    for site in SITES:
        held = sites.site(site).group("bank")
        assert wait_until(lambda held=held: held.copies() == [], timeout_s=10)
    assert copied("pitc", "show", "one", "-g", "bank", "--site", "osaka").code == 2
    assert copied("pitc", "drop", "one", "-g", "bank").code == 2


def test_a_live_writer_is_not_fenced_unasked(copied, sites):
    with sites.group("bank") as group:
        ledger = group.volume("ledger")
        for command in (
            ("pitc", "create", "two", "-g", "bank"),
            ("volume", "create", "new", "-g", "bank", "--size", "1MiB"),
            ("volume", "write", "ledger", "-g", "bank"),
            ("pitc", "drop", "one", "-g", "bank"),
        ):
            refused = copied(*command, stdin=b"x")
            assert refused.code == 13 and "--take-over" in refused.err
            by_time = "tidelog pitc create two --group bank --in" in refused.err
            assert by_time == (command[:2] == ("pitc", "create"))
        ledger.write(0, b"still the writer")
        group.flush()
    assert copied("pitc", "create", "two", "-g", "bank").code == 0


def test_take_over_fences(copied, sites):
    group = sites.group("bank")
    assert copied("pitc", "create", "two", "-g", "bank", "--take-over").code == 0
    with pytest.raises(Exception, match="fenced"):  # noqa: PT012 (by the write, if a heartbeat has told it before)
        group.volume("ledger").write(0, b"too late")
        group.flush()
