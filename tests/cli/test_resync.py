"""`tidelog site verify` and `site resync`: what is damaged is named to the block and mended, and nothing else."""

import json

from tests.cli.conftest import SITES
from tests.cli.test_verify import copied, flip
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.schemas.control import CopyFormed
from tidelog.testing.readiness import wait_until

__all__ = ("copied",)

BLOCK = 4096


def reading(deployment, site: str) -> bytes:
    """Copy and live volume."""
    store = open_store(deployment, site, "bank")
    volume = store.volume("ledger")
    found = store.read(volume, 0, volume.size, store.copy("one")) + store.read(volume, 0, volume.size)
    store.close()
    return found


def settled(deployment) -> bytes:
    """What every site reads once all have applied the last write."""

    def same() -> bool:
        found = {reading(deployment, site) for site in SITES}
        return len(found) == 1 and b"later" in found.pop()

    assert wait_until(same, timeout_s=30)
    return reading(deployment, "tokyo")


def test_equal_sites_are_equal(copied):
    done = copied("site", "verify", "osaka", "-g", "bank")
    assert done.code == 0 and "are equal" in done.text
    document = json.loads(copied("site", "verify", "osaka", "--against", "london", "--json").out)
    (group,) = document["groups"]
    assert group["equal"] and group["against"] == "london" and group["copies_compared"] == ["one"]
    assert group["blocks"] == [] and group["bytes_compared"] >= 2 * 40 * BLOCK


def test_flipped_bits_are_named_and_mended(copied, deployment):
    """Block 2 as the copy keeps it, 7, 8 and 30 as they stand, live too."""
    right = settled(deployment)
    flip(deployment, "osaka", 7, 8, 30, 2)
    bad = copied("site", "verify", "osaka", "-g", "bank")
    assert bad.code == 3 and "tidelog site resync osaka --from tokyo --group bank" in " ".join(bad.err.split())
    assert "7 to 8" in bad.text and "one, the live volume" in bad.text
    dry = copied("site", "resync", "osaka", "--from", "london", "--dry-run", "--json")
    assert "nothing was changed" in dry.err
    dry = json.loads(dry.out)
    (found,) = dry["groups"]
    assert found["report"] is None and found["plan"]["blocks_differing"] == 4
    named = [(one["block"], one["offset"], one["copies"], one["live"]) for one in found["plan"]["blocks"]]
    assert named == [(block, block * BLOCK, ["one"], block != 2) for block in (2, 7, 8, 30)]
    assert reading(deployment, "osaka") != right
    done = copied("site", "resync", "osaka", "--from", "london", "-g", "bank", "--json")
    (group,) = json.loads(done.out)["groups"]
    assert done.code == 0 and group["report"]["blocks_mended"] == 4
    assert group["report"]["bytes_moved"] == group["report"]["bytes_written"] == 4 * BLOCK
    assert reading(deployment, "osaka") == right
    assert copied("site", "verify", "osaka", "-g", "bank").code == 0
    again = copied("site", "resync", "osaka", "--from", "london", "-g", "bank")
    assert again.code == 0 and "are equal" in again.text


def test_a_copy_that_no_other_site_has_is_held_against_its_receipt(copied, deployment):
    """One by time, that the others have dropped by their own retention."""
    with open_group("bank", deployment=deployment):
        assert copied("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
    for site in ("tokyo", "london"):
        store = open_store(deployment, site, "bank")
        store.mark_dropping(store.copy("noon"), forget=True)
        store.close()
    good = copied("site", "verify", "osaka", "-g", "bank")
    assert good.code == 0 and "noon" in good.err
    flip(deployment, "osaka", 9, name="noon")
    bad = copied("site", "verify", "osaka", "-g", "bank")
    assert bad.code == 3 and "copy noon, which tokyo has not, is not what its receipt says" in bad.text


def test_a_receipt_that_told_the_damage_is_told_anew(copied, deployment):
    """The alarm of `pitc list` goes, since the running worker looks again."""
    flip(deployment, "osaka", 5, also_digests=True)
    assert copied("pitc", "list", "-g", "bank").code == 3
    assert copied("site", "resync", "osaka", "--from", "tokyo", "-g", "bank").code == 0
    assert wait_until(lambda: copied("pitc", "list", "-g", "bank").code == 0, timeout_s=30)


def test_a_source_that_is_wrong_is_refused(copied, deployment):
    """Of the sites it is the wrong one, by its own receipt; and a third site's word is enough, too."""
    right = settled(deployment)
    flip(deployment, "tokyo", 5)
    refused = copied("site", "resync", "osaka", "--from", "tokyo", "-g", "bank")
    assert refused.code == 3 and "tidelog site verify tokyo" in refused.err
    assert reading(deployment, "osaka") == right
    # `site verify` goes on to a site that is right, and says why.
    done = copied("site", "verify", "osaka", "-g", "bank")
    assert done.code == 0 and "not compared with tokyo" in done.err


def test_a_source_that_tells_the_damage_is_refused_by_a_third_site(copied, deployment):
    flip(deployment, "tokyo", 5, also_digests=True)
    refused = copied("site", "resync", "osaka", "--from", "tokyo", "-g", "bank")
    assert refused.code == 3 and "london" in refused.err


def test_what_cannot_be_asked(copied, deployment):
    assert copied("site", "resync", "osaka", "--from", "osaka", "-g", "bank").code == 2
    assert copied("site", "resync", "osaka", "--from", "nowhere", "-g", "bank").code == 2
    assert copied("site", "verify", "nowhere").code == 2
    control = deployment.cluster.control
    for key, record in control.snapshot().items():
        if isinstance(record, CopyFormed) and record.site == "tokyo":
            control.retract(key)
    none = copied("site", "resync", "osaka", "--from", "tokyo", "-g", "bank")
    assert none.code == 2 and "tidelog pitc create NAME --group bank --wait" in " ".join(none.err.split())
