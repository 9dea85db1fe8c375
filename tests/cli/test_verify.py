"""`tidelog pitc verify`: by kept digests or by all blocks, and against another site down to the extent that differs."""

import json
import os
import threading

import pytest

from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.errors import StoreUnavailable
from tidelog.gateways.cli import copy_archive
from tidelog.schemas.control import CopyFormed, copy_key
from tidelog.schemas.events import Marker
from tidelog.stores.store import Copy
from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")
BLOCK = 4096


@pytest.fixture
def copied(bank):
    """With a copy ``one`` of 40 blocks of data at every site, and more data behind it."""
    data = os.urandom(40 * BLOCK)
    assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "0", stdin=data).code == 0
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "8KiB", stdin=b"later").code == 0
    return bank


def flip(deployment, site: str, *blocks: int, name: str = "one", also_digests: bool = False) -> None:
    """A bit of each block of the copy, wherever it is, behind the site's back; ``also_digests``: and what the site
    says of it, as if it had applied the log so."""
    store = open_store(deployment, site, "bank")
    copy = store.copy(name)
    volume = copy.volume("ledger")
    keys, keyspace = store._keys, store._keyspace
    for block in blocks:
        before = keys.before_format(copy.generation, volume.id) % block
        live = keys.block_format(volume.id) % block
        image, now = keyspace.transact([(b"GET", before), (b"GET", live)])
        key, value = (before, image) if image is not None else (live, now)
        keyspace.transact([(b"SET", key, bytes([value[0] ^ 1]) + value[1:])])
    if also_digests:
        _tell(deployment, site, copy, store.verify(copy))
    store.close()


def _tell(deployment, site: str, copy: Copy, digest: bytes) -> None:
    control = deployment.cluster.control
    for record in control.snapshot().values():
        if isinstance(record, CopyFormed) and (record.site, record.sequence) == (site, copy.sequence):
            control.publish(record.model_copy(update={"digest": digest}))


def test_equal_sites_are_equal(copied):
    for more in ((), ("--full",), ("--site", "london"), ("--site", "london", "--full")):
        done = copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka", *more)
        assert done.code == 0 and "equal" in done.text and "DIFFERS" not in done.text
        assert ("--full" in done.err) is ("--full" not in more)
    document = json.loads(copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka", "--json").out)
    assert document["equal"] is True and document["differing_blocks"] == 0 and document["sites"] == ["tokyo", "osaka"]
    assert [volume["first"] for volume in document["volumes"]] == [None]


def test_flipped_bits_are_found_and_named(copied, deployment):
    """Block 2 as the copy keeps it, blocks 7 and 8 as they still stand, block 30: the first extent is block 2."""
    flip(deployment, "osaka", 7, 8, 30, 2)
    assert copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka").code == 0  # by what was kept
    bad = copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka", "--full")
    assert bad.code == 3 and f"{BLOCK} bytes at offset {2 * BLOCK}" in bad.err and "4 blocks" in bad.err
    # The digests were computed anew, and are kept: now they tell, too.
    again = copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka", "--json")
    document = json.loads(again.out)
    (volume,) = document["volumes"]
    assert again.code == 3 and document["equal"] is False and document["differing_blocks"] == 4
    assert volume["first"] == {"offset": 2 * BLOCK, "length": BLOCK}
    assert len(set(volume["digests"].values())) == 2
    assert copied("pitc", "verify", "one", "-g", "bank", "--against", "london", "--full").code == 0


def test_a_copy_that_a_site_does_not_show_yet_is_not_called_equal(copied, sites):
    """Nor different: what one site holds was compared with nothing."""
    sites.stop_site("osaka")
    assert copied("pitc", "create", "two", "-g", "bank").code == 0
    others = "--site", "tokyo", "--site", "london"
    assert copied("pitc", "verify", "two", "-g", "bank", "--wait", "5s", *others).code == 0
    done = copied("pitc", "verify", "two", "-g", "bank", "--json")
    document = json.loads(done.out)
    assert done.code == 3 and document["equal"] is None
    assert {site: one["problem"] is None for site, one in document["sites"].items()} == {
        "tokyo": True,
        "london": True,
        "osaka": False,
    }
    sites.site("osaka")
    done = copied("pitc", "verify", "two", "-g", "bank", "--wait", "30s", "--json")
    assert done.code == 0 and json.loads(done.out)["equal"] is True


def test_blocks_in_a_row_are_one_extent(copied, deployment):
    flip(deployment, "tokyo", 10, 11, 12, 30)
    document = json.loads(copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka", "--full", "--json").out)
    assert document["volumes"][0]["first"] == {"offset": 10 * BLOCK, "length": 3 * BLOCK}


def test_the_alarm_names_the_command_that_finds_it(copied, deployment):
    """As it stands in `pitc list` it is run, and names the extent."""
    flip(deployment, "osaka", 5, also_digests=True)
    listed = copied("pitc", "list", "-g", "bank")
    assert listed.code == 3
    command = "tidelog pitc verify one -g bank --site tokyo --against osaka"
    told = " ".join(listed.err.split())
    if command not in told:  # sites are named in the order of the configuration
        command = "tidelog pitc verify one -g bank --site osaka --against tokyo"
    assert command in told
    found = copied(*command.split()[1:])
    assert found.code == 3 and f"offset {5 * BLOCK}" in found.err


def test_equal_bytes_under_another_digest_are_told_apart(copied, deployment):
    """A kept digest that was changed: no block differs, and --full mends it."""
    store = open_store(deployment, "osaka", "bank")
    copy = store.copy("one")
    field = store._keys.digest_field(copy, copy.volume("ledger"))
    (row,) = store._keyspace.transact([(b"HGET", store._keys.digests, field)])
    store._keyspace.transact([(b"HSET", store._keys.digests, field, row[:-1] + bytes([row[-1] ^ 1]))])
    bad = copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka")
    assert bad.code == 3 and "same bytes" in bad.err and "--full" in bad.err
    assert copied("pitc", "verify", "one", "-g", "bank").code == 3
    assert copied("pitc", "verify", "one", "-g", "bank", "--against", "osaka", "--full").code == 0
    assert copied("pitc", "verify", "one", "-g", "bank").code == 0


def test_without_full_kept_digests_and_with_it_blocks_are_compared_with_receipts(copied, deployment):
    good = copied("pitc", "verify", "one", "-g", "bank")
    assert good.code == 0 and "digest as kept" in good.text and good.text.count("as its receipt says") == 3
    flip(deployment, "osaka", 3)
    assert copied("pitc", "verify", "one", "-g", "bank").code == 0
    bad = copied("pitc", "verify", "one", "-g", "bank", "--full")
    assert bad.code == 3 and "blocks differ from the receipt at osaka" in " ".join(bad.err.split())


def test_what_cannot_be_compared(copied, deployment, monkeypatch):
    verify = ("pitc", "verify", "one", "-g", "bank", "--against")
    unknown = copied(*verify, "paris")
    assert unknown.code == 2 and "paris" in unknown.err and "osaka" in unknown.err
    itself = copied(*verify, "tokyo")
    assert itself.code == 2 and "itself" in itself.err
    two = copied(*verify, "osaka", "--site", "tokyo", "--site", "london")
    assert two.code == 2
    store = open_store(deployment, "osaka", "bank")
    store.mark_dropping(store.copy("one"))
    one_only = copied(*verify, "osaka")
    assert one_only.code == 2 and "site osaka has no copy one" in one_only.err

    def down(site: str, _: str):
        raise StoreUnavailable(f"Redis of {site} does not answer")

    monkeypatch.setattr(deployment, "keyspace", down)
    away = copied(*verify, "london")
    assert away.code == 12 and "does not answer" in away.err


def test_different_copies_of_one_name(copied, sites):
    """A name that was used again where a site is behind: named by sequence they compare."""
    first = json.loads(copied("pitc", "show", "one", "-g", "bank", "--json").out)["sequence"]
    sites.stop_site("london")
    assert copied("pitc", "drop", "one", "-g", "bank").code == 0
    assert copied("pitc", "create", "one", "-g", "bank", "--sites", "tokyo").code == 0
    other = copied("pitc", "verify", "one", "-g", "bank", "--against", "london")
    assert other.code == 3 and "#SEQUENCE" in other.err
    assert copied("pitc", "verify", f"#{first}", "-g", "bank", "--against", "london").code == 2


def test_a_name_that_an_archived_copy_had_means_the_newest_copy(copied, deployment, sites, tmp_path):
    """By another program, which does not ask what is archived: the site that is behind is asked, not passed over."""
    assert copied("pitc", "archive", "one", "-g", "bank", "--to", str(tmp_path)).code == 0
    control = deployment.cluster.control
    assert wait_until(lambda: not any(isinstance(one, CopyFormed) for one in control.snapshot().values()), timeout_s=20)
    sites.stop_site("london")
    with open_group("bank", deployment=deployment) as group:
        sequence = group.session.emit(Marker, name="one").sequence
        group.flush()
    keys = {copy_key("bank", sequence, "one", site) for site in ("tokyo", "osaka")}
    assert control.wait_for(lambda view: keys <= view.keys(), 20)
    done = copied("pitc", "verify", "one", "-g", "bank", "--json")
    asked = json.loads(done.out)["sites"]
    assert done.code == 3 and asked.keys() == set(SITES) and "no copy" in asked["london"]["problem"]
    assert asked["osaka"]["sequence"] == asked["tokyo"]["sequence"] == sequence


def test_a_digest_that_is_told_late_stops_the_drop_of_an_archived_copy(copied, deployment, tmp_path, monkeypatch):
    """After the archive was told of: the copy stays everywhere, and the difference is an alarm."""
    archive = copy_archive.archive_copy

    def then(store, copy, *more):
        record = archive(store, copy, *more)
        _tell(deployment, "london", copy, b"x" * 16)
        return record

    monkeypatch.setattr(copy_archive, "archive_copy", then)
    refused = copied("pitc", "archive", "one", "-g", "bank", "--to", str(tmp_path))
    assert refused.code == 3 and "stays" in refused.err and "london" in refused.err
    assert copied("pitc", "list", "-g", "bank").code == 3
    assert all(open_store(deployment, site, "bank").copy("one") for site in SITES)


def test_waiting_for_a_site_that_is_to_come(bank, sites):
    """One that does not come in time is said as without --wait; one that does counts."""
    sites.stop_site("osaka")
    assert bank("pitc", "create", "one", "-g", "bank").code == 0
    short = bank("pitc", "verify", "one", "-g", "bank", "--wait", "100ms")
    assert short.code == 3 and "osaka" in short.text
    starting = threading.Timer(0.5, sites.site, ["osaka"])
    starting.start()
    done = bank("pitc", "verify", "one", "-g", "bank", "--wait", "60s")
    starting.join()
    assert done.code == 0 and done.text.count("as its receipt says") == 3
    assert bank("pitc", "verify", "one", "-g", "bank", "--wait", "soon").code == 2
